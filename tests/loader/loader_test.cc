#include "loader/loader.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "loader/byte_source.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

class LoaderTest : public testing::Test {
 protected:
  // A mixed container, unless tensors were added before.
  std::unique_ptr<Loader> Open(const LoadOptions& options = {}) {
    if (file_ == nullptr) {
      if (builder_.count() == 0) AddMixedTensors(&builder_);
      bytes_ = builder_.Finish();
      file_ = std::make_unique<TemporaryFile>(bytes_);
    }
    auto loader = Loader::Open(file_->path(), options);
    EXPECT_TRUE(loader.ok()) << loader.status().ToString();
    return loader.ok() ? std::move(*loader) : nullptr;
  }

  // Streams `numbers` and expects each tensor once, in order, with the right bytes.
  LoadStatistics ExpectStreams(const Loader& loader, const std::vector<size_t>& numbers) {
    std::vector<size_t> order;
    LoadStatistics statistics;
    const Status status = loader.Stream(
        numbers,
        [&](Tensor tensor) -> Status {
          order.push_back(tensor.number);
          EXPECT_EQ(BytesOf(tensor), builder_.expected(tensor.number)) << tensor.info.name;
          return {};
        },
        &statistics);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(order, numbers);
    return statistics;
  }

  ContainerBuilder builder_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<TemporaryFile> file_;
};

LoadOptions With(IoMode io, int threads = 0) {
  LoadOptions options;
  options.io = io;
  options.threads = threads;
  options.verify_decoded = true;
  return options;
}

TEST_F(LoaderTest, LoadGivesEveryTensorOfEveryProfile) {
  const auto loader = Open();
  for (size_t i = 0; i < builder_.count(); ++i) {
    const TensorInfo& info = loader->index().tensors[i];
    const auto tensor = loader->Load(info.name);
    ASSERT_TRUE(tensor.ok()) << tensor.status().ToString();
    EXPECT_EQ(tensor->number, i);
    EXPECT_EQ(tensor->info.name, info.name);
    EXPECT_EQ(tensor->info.shape, info.shape);
    EXPECT_TRUE(tensor->info.chunks.empty());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(tensor->bytes.data()) % 64, 0u);
    EXPECT_EQ(BytesOf(*tensor), builder_.expected(i)) << info.name;
  }
}

TEST_F(LoaderTest, TensorsOutliveTheLoader) {
  auto loader = Open();
  const auto tensor = loader->Load(size_t{1});
  loader.reset();
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(BytesOf(*tensor), builder_.expected(1));
}

TEST_F(LoaderTest, StreamsAllInFileOrderWithEveryReaderAndAnyThreads) {
  for (const IoMode io : {IoMode::kPread, IoMode::kUring, IoMode::kDirect, IoMode::kMmap}) {
    for (const int threads : {1, 2, 7}) {
      const auto loader = Open(With(io, threads));
      if (loader == nullptr) continue;
      const LoadStatistics statistics = ExpectStreams(*loader, loader->All());
      EXPECT_EQ(statistics.used_uring, io == IoMode::kUring || io == IoMode::kDirect);
      EXPECT_GT(statistics.reads, 0u);
      EXPECT_LT(statistics.bytes_read, bytes_.size() + statistics.reads * 8192);
      EXPECT_GT(statistics.seconds, 0);
    }
  }
}

TEST_F(LoaderTest, StreamsFromMemory) {
  Open();
  auto loader = Loader::OpenMemory(bytes_, {});
  ASSERT_TRUE(loader.ok()) << loader.status().ToString();
  EXPECT_EQ((*loader)->io_description(), "memory");
  ExpectStreams(**loader, (*loader)->All());
}

TEST_F(LoaderTest, StreamsASelectionAndReadsLittleElse) {
  const auto loader = Open();
  const LoadStatistics statistics = ExpectStreams(*loader, {2, 4, 6});
  uint64_t payload = 0, decoded = 0;
  for (const size_t i : {2u, 4u, 6u}) {
    payload += loader->index().tensors[i].payload_bytes();
    decoded += loader->index().tensors[i].decoded_bytes();
  }
  EXPECT_GE(statistics.bytes_read, payload);
  EXPECT_LT(statistics.bytes_read, payload + 3 * 4096);
  EXPECT_EQ(statistics.bytes_decoded, decoded);
}

TEST_F(LoaderTest, StreamOfNothingIsDone) {
  const auto loader = Open();
  EXPECT_EQ(ExpectStreams(*loader, {}).reads, 0u);
}

TEST_F(LoaderTest, StreamOfOnlyEmptyTensorsReadsNothing) {
  const auto loader = Open();
  EXPECT_EQ(ExpectStreams(*loader, {4}).reads, 0u);
}

TEST_F(LoaderTest, StreamsInTheOrderAskedFor) {
  LoadOptions options = With(IoMode::kAuto, 2);
  options.staging_bytes = 40000;
  const auto loader = Open(options);
  ExpectStreams(*loader, {9, 3, 8, 0, 4, 1, 7, 2, 6, 5});
}

TEST_F(LoaderTest, RepeatedOrUnknownNumbersAreUsageErrors) {
  const auto loader = Open();
  const auto ready = [](Tensor) -> Status { return {}; };
  EXPECT_EQ(loader->Stream({1, 1}, ready).code(), ErrorCode::kUsage);
  EXPECT_EQ(loader->Stream({2, 1, 2}, ready).code(), ErrorCode::kUsage);
  EXPECT_EQ(loader->Stream({builder_.count()}, ready).code(), ErrorCode::kUsage);
}

TEST_F(LoaderTest, StagingStaysWithinItsBudget) {
  builder_.AddRaw("a", DType::kU8, {4000, 500, 8, 500});  // 500 chunks of 4000 bytes
  builder_.AddStream("b", DType::kBF16, {1024, 128, 32, 32});
  for (int i = 0; i < 300; ++i)
    builder_.AddExact("norm" + std::to_string(i), DType::kF32, {1, 64, 1, 64});
  for (const IoMode io : {IoMode::kPread, IoMode::kUring, IoMode::kDirect, IoMode::kMmap}) {
    for (const size_t budget : {size_t{6000}, size_t{20000}, size_t{300000}}) {
      LoadOptions options = With(io, 2);
      options.staging_bytes = budget;
      const auto loader = Open(options);
      const LoadStatistics statistics = ExpectStreams(*loader, loader->All());
      EXPECT_LE(statistics.peak_staging_bytes, budget);
      EXPECT_GT(statistics.peak_staging_bytes, 0u);
    }
  }
}

TEST_F(LoaderTest, ABudgetOfExactlyTheLargestChunkIsEnough) {
  builder_.AddRaw("a", DType::kU8, {64, 1000, 8, 1000});
  LoadOptions options = With(IoMode::kAuto, 1);
  options.staging_bytes = 8000;
  const auto loader = Open(options);
  EXPECT_EQ(ExpectStreams(*loader, {0}).peak_staging_bytes, 8000u);
}

size_t AllocatedBytes() {
  const auto facts = mallinfo2();
  return facts.hblkhd + facts.uordblks;
}

// Sanitizers replace malloc; it counts nothing then.
TEST_F(LoaderTest, AtMostTwoTensorsWaitBehindTheOneHandedOver) {
  constexpr size_t kTensorBytes = 4 << 20;
  for (int i = 0; i < 12; ++i) {
    builder_.AddRaw("t" + std::to_string(i), DType::kU8, {1024, 4096, 16, 4096});
  }
  LoadOptions options;
  options.staging_bytes = 1 << 20;
  const auto loader = Open(options);
  const size_t before = AllocatedBytes();
  const Status status = loader->Stream(loader->All(), [&](Tensor) -> Status {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // the others run ahead
    EXPECT_LE(AllocatedBytes(), before + 3 * kTensorBytes + options.staging_bytes + (1 << 20));
    return {};
  });
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST_F(LoaderTest, TooSmallABudgetNamesTensorAndNeed) {
  builder_.AddRaw("small", DType::kU8, {4, 10, 1, 10});
  builder_.AddRaw("large", DType::kU8, {64, 1000, 8, 1000});
  LoadOptions options;
  options.staging_bytes = 7999;
  const auto loader = Open(options);
  const auto tensor = loader->Load("large");
  ASSERT_FALSE(tensor.ok());
  EXPECT_EQ(tensor.status().code(), ErrorCode::kUsage);
  EXPECT_NE(tensor.status().message().find("'large' chunk 0"), std::string::npos);
  EXPECT_NE(tensor.status().message().find("at least 8000"), std::string::npos);
  EXPECT_TRUE(loader->Load("small").ok());
}

TEST_F(LoaderTest, ACallbackErrorEndsTheStream) {
  const auto loader = Open();
  int calls = 0;
  const Status status = loader->Stream(loader->All(), [&](Tensor) -> Status {
    if (++calls == 3) return Status(ErrorCode::kCancelled, "enough");
    return {};
  });
  EXPECT_EQ(status.code(), ErrorCode::kCancelled);
  EXPECT_EQ(status.message(), "enough");
  EXPECT_EQ(calls, 3);
  ExpectStreams(*loader, loader->All());
}

TEST_F(LoaderTest, AThrowingCallbackLeavesNothingBehind) {
  const auto loader = Open();
  const auto load = [&] { return loader->Stream({0, 1}, [](Tensor) -> Status { throw 7; }); };
  EXPECT_THROW((void)load(), int);
  ExpectStreams(*loader, loader->All());
}

TEST_F(LoaderTest, ACallbackMayUseTheSameLoader) {
  const auto loader = Open();
  const Status status = loader->Stream({0, 1, 2}, [&](Tensor tensor) -> Status {
    EXPECT_TRUE(loader->Load(tensor.number).ok());
    return {};
  });
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST_F(LoaderTest, CallbacksRunOnTheCallingThread) {
  const auto loader = Open();
  const auto caller = std::this_thread::get_id();
  const Status status = loader->Stream(loader->All(), [&](Tensor) -> Status {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    return {};
  });
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST_F(LoaderTest, SixteenThreadsLoadFromOneLoader) {
  LoadOptions options = With(IoMode::kAuto, 2);
  options.staging_bytes = 100000;
  const auto loader = Open(options);
  std::atomic<int> right{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < builder_.count(); ++i) {
        const size_t number = (i + t) % builder_.count();
        const auto tensor = loader->Load(number);
        if (tensor.ok() && BytesOf(*tensor) == builder_.expected(number)) ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, static_cast<int>(16 * builder_.count()));
}

TEST_F(LoaderTest, AnUnsupportedProfileIsNamedAndTheOthersLoad) {
  builder_.AddRaw("before", DType::kF32, {4, 4, 4, 4});
  builder_.AddUnknownProfile("from.the.future");
  builder_.AddStream("after", DType::kBF16, {40, 40, 64, 64});
  const auto loader = Open();
  const auto tensor = loader->Load("from.the.future");
  ASSERT_FALSE(tensor.ok());
  EXPECT_EQ(tensor.status().code(), ErrorCode::kUnsupported);
  EXPECT_NE(tensor.status().message().find("'from.the.future' has profile 77"), std::string::npos);
  ExpectStreams(*loader, {0, 2});
}

TEST_F(LoaderTest, FindHintsAtSimilarNames) {
  const auto loader = Open();
  EXPECT_EQ(*loader->Find("lm_head.weight"), 9u);
  const auto missing = loader->Find("layers.0.q.wieght");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.status().code(), ErrorCode::kNotFound);
  EXPECT_NE(missing.status().message().find("did you mean 'layers.0.q.weight'"), std::string::npos)
      << missing.status().message();
  EXPECT_EQ(loader->Load("layers.0.q.wieght").status().code(), ErrorCode::kNotFound);
}

TEST_F(LoaderTest, LoadFileGivesItsBytes) {
  const auto loader = Open();
  const auto file = loader->LoadFile(0);
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(std::string(file->begin(), file->end()), "{\"model_type\": \"test\"}");
  EXPECT_EQ(loader->LoadFile(1).status().code(), ErrorCode::kNotFound);
}

TEST_F(LoaderTest, TellsWhereItReadsFrom) {
  const auto loader = Open();
  EXPECT_EQ(loader->path(), file_->path());
  EXPECT_EQ(loader->superblock().file_size, bytes_.size());
  EXPECT_EQ(loader->source().size(), bytes_.size());
}

}  // namespace
}  // namespace nwc
