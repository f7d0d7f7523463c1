// Sets of containers: opened as one model, by every path that stands for them, from a folder and
// from a web server; and sets of which something is missing, old or of another pack.
#include "loader/model_loader.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "loader/memory_source.h"
#include "loader/shard_set.h"
#include "tests/loader/container_builder.h"
#include "tests/loader/http_test_server.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr size_t kShards = 3;

std::string TextOf(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::string NameOf(size_t shard) {
  return FormatShardName({"m", static_cast<uint32_t>(shard + 1), kShards});
}

// A set in memory: file contents by name, and what its tensors decode to.
struct TestSet {
  std::map<std::string, std::string> files;
  std::vector<std::string> names;
  std::vector<std::vector<uint8_t>> expected;
};

void AddTensors(size_t shard, const std::string& prefix, ContainerBuilder* builder) {
  const std::string name = prefix + std::to_string(shard);
  builder->AddRaw(name + ".raw", DType::kF32, {96, 64, 32, 64});
  builder->AddExact(name + ".exact", DType::kBF16, {128, 64, 64, 64});
  builder->AddStream(name + ".stream", DType::kBF16, {128, 128, 64, 64});
}

// `set` is the identity that the shards state; `prefix` begins the names of tensors.
TestSet MakeSet(const std::string& set, const std::string& prefix = "t") {
  TestSet made;
  std::string shards, map;
  for (size_t s = 0; s < kShards; ++s) {
    ContainerBuilder builder;
    builder.SetOptions("{\"shard\":{\"set\":\"" + set + "\",\"number\":" + std::to_string(s + 1) +
                       ",\"count\":3}}");
    if (s == 0) builder.AddFile("config.json", "{}");
    AddTensors(s, prefix, &builder);
    const auto bytes = builder.Finish();
    const auto superblock = ParseSuperblock(bytes, bytes.size());
    made.files[NameOf(s)] = TextOf(bytes);
    shards += (s == 0 ? "" : ",") + std::string("{\"file\":\"") + NameOf(s) +
              "\",\"size\":" + std::to_string(bytes.size()) + ",\"root_hash\":\"" +
              ToHex(superblock->root_hash) + "\"}";
    for (size_t i = 0; i < builder.count(); ++i) {
      made.names.push_back(builder.index().tensors[i].name);
      made.expected.push_back(builder.expected(i));
      map += (map.empty() ? "" : ",") + ("\"" + made.names.back()) + "\":\"" + NameOf(s) + "\"";
    }
  }
  made.files["m.nwc.index.json"] = "{\"shards\":[" + shards + "],\"weight_map\":{" + map + "}}";
  return made;
}

void ReplaceFirst(std::string* text, const std::string& from, const std::string& to) {
  const size_t at = text->find(from);
  ASSERT_NE(at, std::string::npos) << from;
  text->replace(at, from.size(), to);
}

class ModelLoaderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "nwc_set_XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
    for (const auto& [name, content] : set_.files) Write(name, content);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }
  void Write(const std::string& name, const std::string& content) const {
    std::ofstream(Path(name), std::ios::binary) << content;
  }
  void Remove(const std::string& name) const { ASSERT_TRUE(fs::remove(Path(name))); }

  static std::unique_ptr<ModelLoader> Open(const std::string& path) {
    LoadOptions options;
    options.threads = 2;
    auto model = ModelLoader::Open(path, options);
    EXPECT_TRUE(model.ok()) << model.status().ToString();
    return model.ok() ? std::move(*model) : nullptr;
  }

  void ExpectWhole(const ModelLoader& model) const {
    ASSERT_EQ(model.tensor_count(), set_.names.size());
    size_t next = 0;
    LoadStatistics statistics;
    const Status status = model.Stream(
        model.All(),
        [&](const Tensor& tensor) -> Status {
          EXPECT_EQ(tensor.number, next);
          EXPECT_EQ(tensor.info.name, set_.names[next]);
          EXPECT_EQ(BytesOf(tensor), set_.expected[next]);
          ++next;
          return {};
        },
        &statistics);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(next, set_.names.size());
    EXPECT_GT(statistics.bytes_read, 0u);
  }

  // Opening `name` fails, and the message has all of `words`.
  void ExpectRefused(const std::string& name, ErrorCode code,
                     const std::vector<std::string>& words) const {
    const auto model = ModelLoader::Open(name.empty() ? folder_ : Path(name), {});
    ASSERT_FALSE(model.ok()) << name;
    EXPECT_EQ(model.status().code(), code) << model.status().ToString();
    for (const std::string& word : words) {
      EXPECT_NE(model.status().message().find(word), std::string::npos)
          << model.status().message() << " lacks " << word;
    }
  }

  TestSet set_ = MakeSet("one");
  std::string folder_;
};

TEST_F(ModelLoaderTest, EveryPathOfASetOpensIt) {
  for (const std::string& name : {std::string("m.nwc.index.json"), NameOf(0), NameOf(2),
                                  std::string("m.nwc"), std::string("m"), std::string()}) {
    SCOPED_TRACE(name);
    const auto model = Open(name.empty() ? folder_ : Path(name));
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->shard_count(), kShards);
    EXPECT_EQ(model->path(), Path("m.nwc.index.json"));
    ExpectWhole(*model);
    ASSERT_EQ(model->file_count(), 1u);
    EXPECT_EQ(model->file(0).name, "config.json");
    const auto file = model->LoadFile(0);
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(TextOf(*file), "{}");
    EXPECT_EQ(model->LoadFile(1).status().code(), ErrorCode::kNotFound);
  }
}

TEST_F(ModelLoaderTest, OneContainerIsASetOfOne) {
  Write("single.nwc", set_.files[NameOf(1)]);
  const auto model = Open(Path("single.nwc"));
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->shard_count(), 1u);
  EXPECT_EQ(model->tensor_count(), 3u);
  EXPECT_EQ(model->path(), Path("single.nwc"));
  ExpectRefused("", ErrorCode::kUsage, {"several models"});
  ExpectRefused("nosuch.nwc", ErrorCode::kNotFound, {"nosuch.nwc"});
}

TEST_F(ModelLoaderTest, LoadsByNameNumberAndSlice) {
  const auto model = Open(Path("m.nwc.index.json"));
  ASSERT_NE(model, nullptr);
  const auto number = model->Find("t2.exact");
  ASSERT_TRUE(number.ok());
  EXPECT_EQ(*number, 7u);
  const auto tensor = model->Load("t2.exact");
  ASSERT_TRUE(tensor.ok());
  EXPECT_EQ(tensor->number, 7u);
  EXPECT_EQ(BytesOf(*tensor), set_.expected[7]);
  const auto rows = model->Load(7, {.row_begin = 3, .row_end = 5});
  ASSERT_TRUE(rows.ok());
  const size_t row_bytes = 64 * 2;
  EXPECT_EQ(BytesOf(*rows), std::vector<uint8_t>(set_.expected[7].begin() + 3 * row_bytes,
                                                 set_.expected[7].begin() + 5 * row_bytes));
  const auto missing = model->Find("t2.exakt");
  EXPECT_EQ(missing.status().code(), ErrorCode::kNotFound);
  EXPECT_NE(missing.status().message().find("'t2.exact'"), std::string::npos);
}

TEST_F(ModelLoaderTest, StreamsInAnyOrder) {
  const auto model = Open(Path("m.nwc.index.json"));
  ASSERT_NE(model, nullptr);
  const std::vector<size_t> order = {8, 0, 1, 5, 3, 7, 2};
  std::vector<size_t> got;
  const Status status = model->Stream(order, [&](const Tensor& tensor) -> Status {
    EXPECT_EQ(BytesOf(tensor), set_.expected[tensor.number]);
    got.push_back(tensor.number);
    return {};
  });
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(got, order);
}

TEST_F(ModelLoaderTest, RefusesBadRequestsBeforeAnythingIsRead) {
  const auto model = Open(Path("m.nwc.index.json"));
  ASSERT_NE(model, nullptr);
  const auto refuse = [&](const std::vector<TensorRequest>& requests, const std::string& word) {
    size_t ready = 0;
    const Status status =
        model->Stream(std::span<const TensorRequest>(requests), [&](const Tensor&) -> Status {
          ++ready;
          return {};
        });
    EXPECT_EQ(status.code(), ErrorCode::kUsage);
    EXPECT_NE(status.message().find(word), std::string::npos) << status.message();
    EXPECT_EQ(ready, 0u);
  };
  refuse({{0, {}}, {9, {}}}, "tensor number 9");
  refuse({{0, {}}, {4, {}}, {8, {}}, {4, {}}}, "'t1.exact' is asked for twice");
  refuse({{0, {}}, {4, {.row_begin = 5, .row_end = 500}}}, "'t1.exact'");
}

TEST_F(ModelLoaderTest, ACallbacksErrorAndCancellingEndTheStream) {
  const auto model = Open(Path("m.nwc.index.json"));
  ASSERT_NE(model, nullptr);
  size_t ready = 0;
  const Status stopped = model->Stream(model->All(), [&](const Tensor&) -> Status {
    return ++ready == 5 ? Status(ErrorCode::kIo, "enough") : Status();
  });
  EXPECT_EQ(stopped.message(), "enough");
  EXPECT_EQ(ready, 5u);
  std::atomic<bool> cancel = false;
  const Status cancelled = model->Stream(
      model->All(),
      [&](const Tensor& tensor) -> Status {
        cancel = tensor.number == 4;
        EXPECT_LE(tensor.number, 5u);
        return {};
      },
      nullptr, &cancel);
  EXPECT_EQ(cancelled.code(), ErrorCode::kCancelled);
  EXPECT_EQ(model->Load("t1.raw", {}, &cancel).status().code(), ErrorCode::kCancelled);
}

// Bytes in memory that count how often they are read.
class CountingSource : public MemorySource {
 public:
  CountingSource(std::string name, const std::string& bytes, std::atomic<int>* reads)
      : MemorySource(std::move(name), {bytes.begin(), bytes.end()}), reads_(reads) {}
  Status ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                           const std::atomic<bool>& /*stop*/) const override {
    ++*reads_;
    return Read(offset, destination);
  }

 private:
  std::atomic<int>* reads_;
};

class OverlappingShards : public ModelLoaderTest {
 protected:
  std::unique_ptr<ModelLoader> Join(size_t staging_bytes) {
    LoadOptions options;
    options.threads = 2;
    options.staging_bytes = staging_bytes;
    std::vector<std::unique_ptr<Loader>> shards;
    for (size_t s = 0; s < kShards; ++s) {
      auto source = std::make_unique<CountingSource>(NameOf(s), set_.files[NameOf(s)], &reads_[s]);
      auto loader = Loader::OpenSource(std::move(source), options);
      EXPECT_TRUE(loader.ok()) << loader.status().ToString();
      shards.push_back(std::move(*loader));
    }
    auto model = ModelLoader::Join("set", std::move(shards));
    EXPECT_TRUE(model.ok()) << model.status().ToString();
    return std::move(*model);
  }

  std::array<std::atomic<int>, kShards> reads_{};
};

TEST_F(OverlappingShards, TheNextShardIsReadBeforeTheOneBeforeIsTaken) {
  const auto model = Join(64 << 20);
  bool first = true;
  const Status status = model->Stream(model->All(), [&](const Tensor&) -> Status {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (first && reads_[2] == 0 && std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (first) {
      EXPECT_GT(reads_[1], 0);
      EXPECT_GT(reads_[2], 0);
    }
    first = false;
    return {};
  });
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_FALSE(first);
}

TEST_F(OverlappingShards, HaveOneBudget) {
  constexpr size_t kBudget = 20000;  // less than a shard has
  const auto model = Join(kBudget);
  LoadStatistics statistics;
  size_t right = 0;
  const auto ready = [&](const Tensor& tensor) -> Status {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // reads run ahead
    right += BytesOf(tensor) == set_.expected[tensor.number] ? 1 : 0;
    return {};
  };
  const Status status = model->Stream(model->All(), ready, &statistics);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(right, set_.names.size());
  EXPECT_LE(statistics.peak_staging_bytes, kBudget);
  EXPECT_GT(statistics.peak_staging_bytes, kBudget / 4);
  EXPECT_EQ(static_cast<int>(statistics.reads), reads_[0] + reads_[1] + reads_[2]);
}

TEST_F(ModelLoaderTest, ATensorThatIsTooLargeForTheBudgetIsFoundBeforeAnythingIsRead) {
  LoadOptions options;
  options.staging_bytes = 100;
  const auto model = ModelLoader::Open(Path("m.nwc.index.json"), options);
  ASSERT_TRUE(model.ok());
  LoadStatistics statistics;
  const Status status =
      (*model)->Stream((*model)->All(), [](const Tensor&) { return Status(); }, &statistics);
  EXPECT_EQ(status.code(), ErrorCode::kUsage);
  EXPECT_NE(status.message().find(Path(NameOf(0))), std::string::npos) << status.message();
  EXPECT_EQ(statistics.reads, 0u);
}

TEST_F(ModelLoaderTest, ManyThreadsLoadAtOnce) {
  const auto model = Open(Path("m.nwc.index.json"));
  ASSERT_NE(model, nullptr);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 0; i < set_.names.size(); ++i) {
        const size_t number = (i * 5 + t) % set_.names.size();
        const auto tensor = model->Load(set_.names[number]);
        ASSERT_TRUE(tensor.ok()) << tensor.status().ToString();
        EXPECT_EQ(BytesOf(*tensor), set_.expected[number]);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(ModelLoaderTest, NamesTheShardThatIsMissing) {
  for (size_t s = 0; s < kShards; ++s) {
    Remove(NameOf(s));
    const std::string which = "shard " + std::to_string(s + 1) + " of 3 is missing";
    ExpectRefused("m.nwc.index.json", ErrorCode::kNotFound, {Path(NameOf(s)), which});
    ExpectRefused(NameOf((s + 1) % kShards), ErrorCode::kNotFound, {Path(NameOf(s)), which});
    Write(NameOf(s), set_.files[NameOf(s)]);
  }
  ExpectWhole(*Open(folder_));
}

TEST_F(ModelLoaderTest, NoticesSwappedTruncatedAndDamagedShards) {
  Write(NameOf(0), set_.files[NameOf(1)]);
  Write(NameOf(1), set_.files[NameOf(0)]);
  ExpectRefused("m.nwc.index.json", ErrorCode::kCorrupt, {Path(NameOf(0)), "index.json says"});
  Write(NameOf(0), set_.files[NameOf(0)]);
  Write(NameOf(1), set_.files[NameOf(1)].substr(0, set_.files[NameOf(1)].size() - 8));
  ExpectRefused("m.nwc.index.json", ErrorCode::kCorrupt, {Path(NameOf(1))});
  Write(NameOf(1), set_.files[NameOf(1)]);

  std::string damaged = set_.files[NameOf(2)];
  damaged[kSuperblockSize + 100] ^= 1;  // of its first tensor
  Write(NameOf(2), damaged);
  const auto model = Open(Path("m.nwc.index.json"));
  ASSERT_NE(model, nullptr);
  const auto tensor = model->Load("t2.raw");
  EXPECT_EQ(tensor.status().rule(), 20) << tensor.status().ToString();
  EXPECT_NE(tensor.status().message().find(NameOf(2)), std::string::npos);
  EXPECT_NE(tensor.status().message().find("t2.raw"), std::string::npos);
}

TEST_F(ModelLoaderTest, NoticesAMixtureOfTwoPacks) {
  const TestSet other = MakeSet("two");
  Write(NameOf(1), other.files.at(NameOf(1)));
  ExpectRefused("m.nwc.index.json", ErrorCode::kCorrupt, {Path(NameOf(1)), "root hash"});
  Remove("m.nwc.index.json");
  ExpectRefused(NameOf(0), ErrorCode::kCorrupt, {Path(NameOf(1)), "of set two", "of set one"});
  Write("m.nwc.index.json", other.files.at("m.nwc.index.json"));
  ExpectRefused(NameOf(1), ErrorCode::kCorrupt, {Path(NameOf(0)), "root hash"});
}

TEST_F(ModelLoaderTest, WithoutIndexTheNamesMustBeComplete) {
  Remove("m.nwc.index.json");
  for (size_t s = 0; s < kShards; ++s) ExpectWhole(*Open(Path(NameOf(s))));
  ExpectWhole(*Open(folder_));
  ExpectRefused("m.nwc", ErrorCode::kNotFound, {"m.nwc"});
  fs::rename(Path(NameOf(2)), Path("elsewhere"));
  Write(NameOf(2), set_.files[NameOf(1)]);
  ExpectRefused(NameOf(0), ErrorCode::kCorrupt, {Path(NameOf(2)), "shard 2 of 3"});
  // A container that is merely called so stands for itself.
  ContainerBuilder plain;
  AddTensors(0, "p", &plain);
  Write("p-00001-of-00002.nwc", TextOf(plain.Finish()));
  const auto model = Open(Path("p-00001-of-00002.nwc"));
  ASSERT_NE(model, nullptr);
  EXPECT_EQ(model->shard_count(), 1u);
}

TEST_F(ModelLoaderTest, IndexAndShardsMustAgreeOnTensors) {
  const std::string good = set_.files["m.nwc.index.json"];
  std::string index = good;
  ReplaceFirst(&index, "\"t1.raw\":\"" + NameOf(1), "\"t1.raw\":\"" + NameOf(2));
  Write("m.nwc.index.json", index);
  ExpectRefused("m.nwc.index.json", ErrorCode::kCorrupt, {"t1.raw", NameOf(1), NameOf(2)});
  index = good;
  ReplaceFirst(&index, "\"t1.raw\":", "\"t1.new\":");
  Write("m.nwc.index.json", index);
  ExpectRefused("m.nwc.index.json", ErrorCode::kCorrupt, {"t1.raw"});
  index = good;
  ReplaceFirst(&index, "\"t1.raw\":", "\"t1.new\":\"" + NameOf(1) + "\",\"t1.raw\":");
  Write("m.nwc.index.json", index);
  ExpectRefused("m.nwc.index.json", ErrorCode::kCorrupt, {"t1.new", NameOf(1)});
}

TEST_F(ModelLoaderTest, AShardThatTheIndexDoesNotListIsRefused) {
  const std::string stale = FormatShardName({"m", 1, 2});
  Write(stale, set_.files[NameOf(0)]);
  ExpectRefused(stale, ErrorCode::kCorrupt, {stale, "m.nwc.index.json"});
}

TEST_F(ModelLoaderTest, DuplicateTensorsNameBothFiles) {
  std::vector<std::unique_ptr<Loader>> shards;
  for (const size_t s : {0u, 1u, 0u}) {
    auto loader = Loader::Open(Path(NameOf(s)), {});
    ASSERT_TRUE(loader.ok());
    shards.push_back(std::move(*loader));
  }
  const auto model = ModelLoader::Join("set", std::move(shards));
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.status().code(), ErrorCode::kCorrupt);
  EXPECT_NE(model.status().message().find("'t0.raw'"), std::string::npos);
  EXPECT_NE(model.status().message().find(Path(NameOf(0))), std::string::npos);
  EXPECT_EQ(ModelLoader::Join("set", {}).status().code(), ErrorCode::kUsage);
}

// Serves the files of a set, and 404 for others.
HttpTestServer::Hook Serving(const TestSet& set) {
  return [&set](const TestRequest& request, TestAnswer* answer) {
    const std::string name = request.target.substr(1, request.target.find('?') - 1);
    const auto file = set.files.find(name);
    if (file == set.files.end()) {
      answer->status = 404;
      answer->body.clear();
      answer->Remove("Content-Range");
    } else {
      const size_t end = std::min(request.end, file->second.size());
      answer->body = file->second.substr(request.begin, end - request.begin);
      answer->Set("Content-Range", "bytes " + std::to_string(request.begin) + "-" +
                                       std::to_string(end - 1) + "/" +
                                       std::to_string(file->second.size()));
    }
    answer->Set("Content-Length", std::to_string(answer->body.size()));
  };
}

class RemoteSet : public ModelLoaderTest {
 protected:
  static void SetUpTestSuite() { setenv("no_proxy", "*", 1); }
};

TEST_F(RemoteSet, OpensByIndexShardAndName) {
  TestSet served = set_;
  HttpTestServer server(std::vector<uint8_t>(1 << 20), Serving(served));
  for (const std::string& target :
       std::vector<std::string>{"/m.nwc.index.json?key", "/" + NameOf(1), "/m.nwc?key"}) {
    SCOPED_TRACE(target);
    const auto model = Open(server.url(target));
    ASSERT_NE(model, nullptr);
    EXPECT_EQ(model->shard_count(), kShards);
    EXPECT_EQ(model->path(), server.url("/m.nwc.index.json"));
    ExpectWhole(*model);
  }
  for (const TestRequest& request : server.requests()) {
    if (request.number < 4) {  // the index and its shards
      EXPECT_TRUE(request.target.ends_with("?key")) << request.target;
    }
  }
  served.files.erase("m.nwc.index.json");
  ExpectWhole(*Open(server.url("/" + NameOf(2))));
  // A name that a URL cannot hold as it is.
  served.files["odd%20name.nwc"] = served.files[NameOf(1)];
  std::string index = set_.files["m.nwc.index.json"];
  for (size_t at = index.find(NameOf(1)); at != std::string::npos; at = index.find(NameOf(1))) {
    index.replace(at, NameOf(1).size(), "odd name.nwc");
  }
  served.files["odd.nwc.index.json"] = index;
  ExpectWhole(*Open(server.url("/odd.nwc.index.json")));
  served.files.erase(NameOf(0));
  const auto model = ModelLoader::Open(server.url("/" + NameOf(2)), {});
  EXPECT_EQ(model.status().code(), ErrorCode::kNotFound) << model.status().ToString();
  EXPECT_NE(model.status().message().find("shard 1 of 3 is missing"), std::string::npos);
}

}  // namespace
}  // namespace nwc
