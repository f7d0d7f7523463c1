// Whole loads from a web server: how many requests they take, the cache, and servers that
// misbehave.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "loader/http_source.h"
#include "loader/loader.h"
#include "tests/loader/container_builder.h"
#include "tests/loader/http_test_server.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

class HttpLoader : public testing::Test {
 protected:
  static void SetUpTestSuite() { setenv("no_proxy", "*", 1); }

  void SetUp() override {
    AddMixedTensors(&builder_);
    // More than the head that comes with the first request.
    for (int i = 0; i < 6; ++i) {
      builder_.AddRaw("big" + std::to_string(i), DType::kF32, {1024, 1024, 256, 1024});
    }
    for (int i = 0; i < 3; ++i) {
      builder_.AddRaw("small" + std::to_string(i), DType::kF32, {64, 128, 64, 128});
    }
    bytes_ = builder_.Finish();
    server_ = std::make_unique<HttpTestServer>(bytes_);
    std::string pattern = testing::TempDir() + "nwc_http_cacheXXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    unsetenv("NWC_CACHE");
  }
  void TearDown() override { fs::remove_all(folder_); }

  static LoadOptions Quick() {
    LoadOptions options;
    options.threads = 2;
    options.remote.stall_timeout_s = 1;
    options.remote.retries = 2;
    options.remote.first_pause_ms = 1;
    return options;
  }
  LoadOptions WithCache() const {
    LoadOptions options = Quick();
    options.remote.cache_folder = folder_;
    return options;
  }

  std::unique_ptr<Loader> Open(const LoadOptions& options = Quick()) {
    auto loader = Loader::Open(server_->url("/m.nwc?secret"), options);
    EXPECT_TRUE(loader.ok()) << loader.status().ToString();
    return loader.ok() ? std::move(*loader) : nullptr;
  }

  void ExpectAllGood(const Loader& loader) {
    size_t count = 0;
    const Status status = loader.Stream(loader.All(), [&](Tensor tensor) -> Status {
      EXPECT_EQ(BytesOf(tensor), builder_.expected(tensor.number));
      ++count;
      return {};
    });
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(count, builder_.count());
  }

  static Status Drain(const Loader& loader) {
    return loader.Stream(loader.All(), [](Tensor) -> Status { return {}; });
  }

  ContainerBuilder builder_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<HttpTestServer> server_;
  fs::path folder_;
};

TEST_F(HttpLoader, TwoRequestsBeforeTheFirstPayload) {
  const auto loader = Open();
  EXPECT_EQ(loader->path(), server_->url("/m.nwc"));
  EXPECT_EQ(loader->io_description(), "HTTP, 8 ranges at once");
  EXPECT_EQ(server_->request_count(), 2u);
  EXPECT_EQ(server_->requests()[1].begin, loader->superblock().index_offset);
  const auto tensor = loader->Load("big5");
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(BytesOf(*tensor), builder_.expected(tensor->number));
  EXPECT_EQ(server_->request_count(), 3u);
  EXPECT_EQ(server_->connections(), 1u);
}

TEST_F(HttpLoader, ASmallContainerTakesOneRequest) {
  ContainerBuilder builder;
  builder.AddStream("x", DType::kBF16, {64, 64, 64, 64});
  server_->Replace(builder.Finish(), "\"small\"");
  const auto loader = Open();
  EXPECT_TRUE(loader->Load("x").ok());
  EXPECT_EQ(server_->request_count(), 1u);
}

TEST_F(HttpLoader, RangesComeInParallelAndNeighboursAreJoined) {
  server_->SetHook([](const TestRequest&, TestAnswer* answer) { answer->stall_ms = 20; });
  const auto loader = Open();
  LoadStatistics statistics;
  size_t count = 0;
  const auto ready = [&](Tensor tensor) -> Status {
    EXPECT_EQ(BytesOf(tensor), builder_.expected(tensor.number));
    ++count;
    return {};
  };
  ASSERT_TRUE(loader->Stream(loader->All(), ready, &statistics).ok());
  EXPECT_EQ(count, builder_.count());
  EXPECT_GE(server_->most_at_once(), 3u);
  EXPECT_LE(server_->connections(), 9u);
  EXPECT_LT(statistics.reads, 12u);  // 24 MiB in reads of up to 4 MiB
  EXPECT_LE(statistics.peak_staging_bytes, Quick().staging_bytes);
}

TEST_F(HttpLoader, AFewUnwantedBytesAreCheaperThanASecondRequest) {
  const auto loader = Open();
  const size_t first = *loader->Find("small0");
  ASSERT_TRUE(loader
                  ->Stream({first, first + 2},
                           [&](Tensor tensor) -> Status {
                             EXPECT_EQ(BytesOf(tensor), builder_.expected(tensor.number));
                             return {};
                           })
                  .ok());
  EXPECT_EQ(server_->request_count(), 3u);
}

TEST_F(HttpLoader, CancellingEndsALoadThatStalls) {
  LoadOptions options = Quick();
  options.remote.stall_timeout_s = 60;
  const auto loader = Open(options);
  server_->SetHook([](const TestRequest&, TestAnswer* answer) { answer->stall_ms = 30'000; });
  std::atomic<bool> cancel = false;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    cancel = true;
  });
  const auto begin = std::chrono::steady_clock::now();
  const auto ready = [](Tensor) -> Status { return {}; };
  EXPECT_EQ(loader->Stream(loader->All(), ready, nullptr, &cancel).code(), ErrorCode::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  canceller.join();
  server_->SetHook({});
  ExpectAllGood(*loader);
}

TEST_F(HttpLoader, EveryFaultIsAnErrorOrPassesAndTheNextLoadWorks) {
  using Spoil = std::function<void(TestAnswer*)>;
  const std::vector<std::pair<Spoil, bool>> faults = {
      {[](TestAnswer* a) { a->silent = true; }, true},
      {[](TestAnswer* a) { a->cut_after = a->body.size() / 2; }, true},
      {[](TestAnswer* a) { a->status = 503; }, true},
      {[](TestAnswer* a) { a->stall_ms = 20'000; }, true},
      {[](TestAnswer* a) { a->status = 200; }, false},
      {[](TestAnswer* a) { a->Set("ETag", "\"two\""); }, false},
      {[](TestAnswer* a) { a->Set("Content-Length", "3"); }, false},
      {[](TestAnswer* a) { a->body[0] = static_cast<char>(a->body[0] ^ 1); }, false},
  };
  for (const auto& [fault, passes] : faults) {
    const auto loader = Open();
    const size_t next = server_->request_count();
    server_->SetHook([&, spoil = fault](const TestRequest& request, TestAnswer* answer) {
      if (request.number == next) spoil(answer);
    });
    const Status status = Drain(*loader);
    EXPECT_EQ(status.ok(), passes) << status.ToString();
    if (!passes) {
      EXPECT_EQ(status.message().find(loader->path() + ": "), 0u) << status.ToString();
      EXPECT_EQ(status.message().find("secret"), std::string::npos) << status.ToString();
    }
    server_->SetHook({});
    ExpectAllGood(*loader);
  }
}

TEST_F(HttpLoader, AFileReplacedWhileOpenIsAnError) {
  const auto loader = Open();
  ContainerBuilder other;
  other.AddScalar("x");
  server_->Replace(other.Finish(), "\"two\"");
  const Status status = Drain(*loader);
  EXPECT_EQ(status.code(), ErrorCode::kIo);
  EXPECT_NE(status.message().find("the file was replaced while open"), std::string::npos);
  EXPECT_TRUE(Open()->Load("x").ok());
}

TEST_F(HttpLoader, AFailedReadDoesNotWaitForStalledOnes) {
  LoadOptions options = Quick();
  options.remote.stall_timeout_s = 60;
  const auto loader = Open(options);
  server_->SetHook([](const TestRequest& request, TestAnswer* answer) {
    if (request.number == 4) {
      answer->status = 403;
    } else {
      answer->stall_ms = 30'000;
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Drain(*loader).code(), ErrorCode::kIo);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST_F(HttpLoader, WhatIsNoContainerIsSaidSo) {
  server_->Replace(std::vector<uint8_t>(1000, 'x'), "\"x\"");
  EXPECT_EQ(Loader::Open(server_->url(), Quick()).status().rule(), 1);
  server_->Replace({}, "\"empty\"");
  EXPECT_EQ(Loader::Open(server_->url(), Quick()).status().rule(), 1);
}

TEST_F(HttpLoader, TheCacheSparesTheServer) {
  ExpectAllGood(*Open(WithCache()));
  const size_t before = server_->request_count();
  const auto loader = Open(WithCache());
  EXPECT_EQ(loader->io_description(), "HTTP, 8 ranges at once, cache in " + folder_.string());
  ExpectAllGood(*loader);
  ASSERT_TRUE(loader->LoadFile(0).ok());
  EXPECT_EQ(server_->request_count(), before + 2);
}

TEST_F(HttpLoader, TheEnvironmentNamesACache) {
  setenv("NWC_CACHE", folder_.c_str(), 1);
  EXPECT_TRUE(Open()->Load("big0").ok());
  const size_t before = server_->request_count();
  EXPECT_TRUE(Open()->Load("big0").ok());
  EXPECT_EQ(server_->request_count(), before + 2);
  unsetenv("NWC_CACHE");
}

TEST_F(HttpLoader, AFlippedByteInTheCacheHeals) {
  ExpectAllGood(*Open(WithCache()));
  size_t flipped = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() != ".chunk") continue;
    ++flipped;
    FILE* file = fopen(entry.path().c_str(), "r+b");
    ASSERT_NE(file, nullptr);
    const int byte = fgetc(file);
    ASSERT_EQ(fseek(file, 0, SEEK_SET), 0);
    fputc(byte ^ 1, file);
    fclose(file);
  }
  EXPECT_GT(flipped, 20u);
  ExpectAllGood(*Open(WithCache()));
  const size_t before = server_->request_count();
  ExpectAllGood(*Open(WithCache()));
  EXPECT_EQ(server_->request_count(), before + 2);
}

TEST_F(HttpLoader, ACacheTooSmallForTheFileStillLoads) {
  LoadOptions options = WithCache();
  options.remote.cache_bytes = 5 << 20;
  ExpectAllGood(*Open(options));
  ExpectAllGood(*Open(options));
  uint64_t size = 0;
  for (const auto& entry : fs::directory_iterator(folder_)) size += entry.file_size();
  EXPECT_LE(size, (5u << 20) + 8);  // and the lock file
}

TEST_F(HttpLoader, AReplacedFileDoesNotMeetTheOldCache) {
  ExpectAllGood(*Open(WithCache()));
  ContainerBuilder other;
  other.AddRaw("big0", DType::kF32, {16, 16, 16, 16});
  server_->Replace(other.Finish(), "\"two\"");
  const auto tensor = Open(WithCache())->Load("big0");
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(BytesOf(*tensor), other.expected(0));
}

TEST_F(HttpLoader, ACacheThatCannotBeIsAnErrorAtOnce) {
  LoadOptions options = Quick();
  options.remote.cache_folder = "/proc/nowhere";
  const Status status = Loader::Open(server_->url(), options).status();
  EXPECT_EQ(status.code(), ErrorCode::kIo);
  EXPECT_NE(status.message().find("/proc/nowhere: cannot be used as a cache"), std::string::npos);
}

}  // namespace
}  // namespace nwc
