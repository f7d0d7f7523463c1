#include "tools/checkpoint.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/tools/temporary_folder.h"
#include "tools/safetensors.h"

namespace nwc {
namespace {

class CheckpointTest : public testing::Test {
 protected:
  // A .safetensors file of U8 vectors; `tensors` are names, each as long as its content.
  void WriteShard(const std::string& file,
                  const std::vector<std::pair<std::string, std::string>>& tensors) const {
    std::vector<SafetensorsEntry> entries;
    std::string data;
    for (const auto& [name, content] : tensors) {
      entries.push_back({name, DType::kU8, {content.size()}});
      data += content;
    }
    const auto header = SerializeSafetensorsHeader(&entries, R"({"format":"pt"})");
    folder_.Write(file, std::string(header.begin(), header.end()) + data);
  }
  void WriteIndex(const std::string& map) const {
    folder_.Write("model.safetensors.index.json", "{\"weight_map\":" + map + "}");
  }
  void WriteTwoShards() const {
    WriteShard("model-1.safetensors", {{"z", "zz"}, {"a", "aaa"}});
    WriteShard("model-2.safetensors", {{"b", "bbbb"}});
    WriteIndex(R"({"b":"model-2.safetensors","a":"model-1.safetensors",)"
               R"("z":"model-1.safetensors"})");
  }

  [[nodiscard]] std::unique_ptr<Checkpoint> Open() const {
    auto checkpoint = Checkpoint::Open(folder_.path());
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
    return checkpoint.ok() ? std::move(*checkpoint) : nullptr;
  }
  void ExpectFails(ErrorCode code, const std::string& why) const {
    const auto checkpoint = Checkpoint::Open(folder_.path());
    ASSERT_FALSE(checkpoint.ok());
    EXPECT_EQ(checkpoint.status().code(), code) << checkpoint.status().ToString();
    EXPECT_NE(checkpoint.status().message().find(why), std::string::npos)
        << checkpoint.status().message();
  }
  static std::string ReadTensor(const Checkpoint& checkpoint, size_t tensor) {
    std::vector<uint8_t> bytes(checkpoint.tensors()[tensor].shape[0]);
    EXPECT_TRUE(checkpoint.Read(tensor, bytes).ok());
    return {bytes.begin(), bytes.end()};
  }

  TemporaryFolder folder_;
};

TEST_F(CheckpointTest, ReadsASingleFile) {
  WriteShard("model.safetensors", {{"w", "abc"}, {"v", "de"}});
  const auto checkpoint = Open();
  ASSERT_NE(checkpoint, nullptr);
  ASSERT_EQ(checkpoint->tensors().size(), 2u);
  EXPECT_EQ(checkpoint->tensors()[0].name, "w");
  EXPECT_EQ(ReadTensor(*checkpoint, 0), "abc");
  EXPECT_EQ(ReadTensor(*checkpoint, 1), "de");
  ASSERT_EQ(checkpoint->shards().size(), 1u);
  EXPECT_EQ(checkpoint->shards()[0].name, "model.safetensors");
  EXPECT_EQ(checkpoint->shards()[0].metadata, R"({"format":"pt"})");
}

TEST_F(CheckpointTest, OpensAFileByItsPath) {
  WriteShard("any name.safetensors", {{"w", "abc"}});
  folder_.Write("config.json", "{}");
  const auto checkpoint = Checkpoint::Open(folder_.Path("any name.safetensors"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  EXPECT_EQ((*checkpoint)->shards()[0].name, "any name.safetensors");
  const auto files = (*checkpoint)->ReadFiles();
  ASSERT_TRUE(files.ok());
  EXPECT_TRUE(files->empty());
}

TEST_F(CheckpointTest, TakesTheOnlyWeightsFile) {
  WriteShard("adapter.safetensors", {{"w", "abc"}});
  EXPECT_NE(Open(), nullptr);
  WriteShard("other.safetensors", {{"w", "abc"}});
  ExpectFails(ErrorCode::kNotFound, "holds 2 .safetensors files");
}

TEST_F(CheckpointTest, ReadsShardsInOrderOfNameAndOffset) {
  WriteTwoShards();
  const auto checkpoint = Open();
  ASSERT_NE(checkpoint, nullptr);
  std::string names, content;
  for (size_t i = 0; i < checkpoint->tensors().size(); ++i) {
    names += checkpoint->tensors()[i].name;
    content += ReadTensor(*checkpoint, i);
  }
  EXPECT_EQ(names, "zab");
  EXPECT_EQ(content, "zzaaabbbb");
  EXPECT_EQ(checkpoint->tensors()[2].shard, 1);
}

TEST_F(CheckpointTest, MissingShardIsNamed) {
  WriteTwoShards();
  std::filesystem::remove(folder_.Path("model-2.safetensors"));
  ExpectFails(ErrorCode::kCorrupt, "model-2.safetensors: this shard is missing");
}

TEST_F(CheckpointTest, DanglingLinkIsNamed) {
  std::filesystem::create_symlink("nowhere", folder_.Path("model.safetensors"));
  ExpectFails(ErrorCode::kCorrupt, "model.safetensors: a symbolic link to nothing");
}

TEST_F(CheckpointTest, FollowsLinks) {
  TemporaryFolder cache;
  WriteShard("blob", {{"w", "abc"}});
  std::filesystem::rename(folder_.Path("blob"), cache.Path("blob"));
  std::filesystem::create_symlink(cache.Path("blob"), folder_.Path("model.safetensors"));
  const auto checkpoint = Open();
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(ReadTensor(*checkpoint, 0), "abc");
}

TEST_F(CheckpointTest, MappedTensorThatIsNowhereIsNamed) {
  WriteTwoShards();
  WriteIndex(R"({"b":"model-2.safetensors","a":"model-1.safetensors",)"
             R"("z":"model-1.safetensors","gone":"model-1.safetensors"})");
  ExpectFails(ErrorCode::kCorrupt, "'gone' is in no shard, expected it in model-1.safetensors");
}

TEST_F(CheckpointTest, TensorInAnotherShardThanMappedIsNamed) {
  WriteTwoShards();
  WriteIndex(R"({"b":"model-1.safetensors","a":"model-1.safetensors",)"
             R"("z":"model-2.safetensors"})");
  ExpectFails(ErrorCode::kCorrupt, "'b' is in model-2.safetensors, expected it in model-1");
}

TEST_F(CheckpointTest, TensorThatIsNotMappedIsNamed) {
  WriteTwoShards();
  WriteIndex(R"({"b":"model-2.safetensors","z":"model-1.safetensors"})");
  ExpectFails(ErrorCode::kCorrupt, "'a' is not in model.safetensors.index.json");
}

TEST_F(CheckpointTest, TensorInTwoShardsIsNamed) {
  WriteTwoShards();
  WriteShard("model-2.safetensors", {{"b", "bbbb"}, {"a", "x"}});
  ExpectFails(ErrorCode::kCorrupt, "'a' is also in model-1.safetensors");
}

TEST_F(CheckpointTest, PathsInTheIndexAreRejected) {
  WriteShard("model.safetensors", {{"w", "abc"}});
  WriteIndex(R"({"w":"../model.safetensors"})");
  ExpectFails(ErrorCode::kCorrupt, "'../model.safetensors'");
}

TEST_F(CheckpointTest, FolderOfOldPicklesIsToldHowToConvert) {
  folder_.Write("pytorch_model.bin", "x");
  ExpectFails(ErrorCode::kUnsupported, "safetensors.torch.save_file");
}

TEST_F(CheckpointTest, EmptyFolderAndWrongPathAreExplained) {
  ExpectFails(ErrorCode::kNotFound, "holds no weights");
  const auto checkpoint = Checkpoint::Open(folder_.Path("nothing"));
  ASSERT_FALSE(checkpoint.ok());
  EXPECT_NE(checkpoint.status().message().find("no such file"), std::string::npos);
}

TEST_F(CheckpointTest, BadShardErrorNamesTheFile) {
  folder_.Write("model.safetensors", "12345678");
  ExpectFails(ErrorCode::kCorrupt, folder_.Path("model.safetensors") + ": the header length");
}

TEST_F(CheckpointTest, FileCutWhileOpenIsAnIoError) {
  WriteShard("model.safetensors", {{"w", std::string(100, 'x')}});
  const auto checkpoint = Open();
  ASSERT_NE(checkpoint, nullptr);
  const auto size = std::filesystem::file_size(folder_.Path("model.safetensors"));
  std::filesystem::resize_file(folder_.Path("model.safetensors"), size - 1);
  std::vector<uint8_t> bytes(100);
  const Status status = checkpoint->Read(0, bytes);
  EXPECT_EQ(status.code(), ErrorCode::kIo);
  EXPECT_NE(status.message().find("model.safetensors: ends at byte"), std::string::npos);
  EXPECT_NE(status.message().find("'w'"), std::string::npos);
}

TEST_F(CheckpointTest, CollectsMetadataFilesByName) {
  WriteTwoShards();
  for (const char* name : {"config.json", "vocab.txt", "spiece.model", "chat_template.jinja",
                           "README.md", "model.py", "LICENSE", "NOTICE", "tokenizer.tiktoken"}) {
    folder_.Write(name, name);
  }
  for (const char* name : {"pytorch_model.bin", ".hidden.json", "tokenizer.bin", "image.png"}) {
    folder_.Write(name, name);
  }
  std::filesystem::create_directory(folder_.Path("folder.json"));
  const auto files = Open()->ReadFiles();
  ASSERT_TRUE(files.ok()) << files.status().ToString();
  std::vector<std::string> names;
  for (const SourceFile& f : *files) names.push_back(f.name);
  EXPECT_EQ(names,
            (std::vector<std::string>{"LICENSE", "NOTICE", "README.md", "chat_template.jinja",
                                      "config.json", "model.py", "model.safetensors.index.json",
                                      "spiece.model", "tokenizer.tiktoken", "vocab.txt"}));
  EXPECT_EQ(std::string((*files)[4].content.begin(), (*files)[4].content.end()), "config.json");
}

TEST_F(CheckpointTest, HugeMetadataFileIsAnError) {
  WriteShard("model.safetensors", {{"w", "abc"}});
  folder_.Write("big.json", "");
  std::filesystem::resize_file(folder_.Path("big.json"), (256u << 20) + 1);
  const auto files = Open()->ReadFiles();
  ASSERT_FALSE(files.ok());
  EXPECT_NE(files.status().message().find("big.json"), std::string::npos);
}

TEST_F(CheckpointTest, DanglingMetadataLinkIsAnError) {
  WriteShard("model.safetensors", {{"w", "abc"}});
  std::filesystem::create_symlink("nowhere", folder_.Path("config.json"));
  const auto files = Open()->ReadFiles();
  ASSERT_FALSE(files.ok());
  EXPECT_NE(files.status().message().find("config.json"), std::string::npos);
}

}  // namespace
}  // namespace nwc
