#include "tools/gguf.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/tools/gguf_writer.h"
#include "tests/tools/memory_reader.h"
#include "tests/tools/temporary_folder.h"
#include "tools/checkpoint.h"

namespace nwc {
namespace {

constexpr uint32_t kF32 = 0, kF16 = 1, kQ4K = 12, kI32 = 26, kBF16 = 30;

// Metadata of every type.
std::vector<std::string> Metadata() {
  const std::string words = Little(8u) + Little<uint64_t>(2) + GgufText("a") + GgufText("");
  const std::string inner = Little(0u) + Little<uint64_t>(3) + "abc";
  return {GgufEntry("general.architecture", 8, GgufText("llama")),
          GgufEntry("byte", 0, "x"),
          GgufEntry("flag", 7, "\x01"),
          GgufEntry("short", 3, "xy"),
          GgufEntry("float", 6, "1234"),
          GgufEntry("double", 12, "12345678"),
          GgufEntry("words", 9, words),
          GgufEntry("nested", 9, Little(9u) + Little<uint64_t>(2) + inner + inner),
          GgufEntry("none", 9, Little(8u) + Little<uint64_t>(0))};
}

std::vector<GgufTestTensor> Tensors() {
  return {{"token_embd.weight", {3, 2}, kF16, "aabbccddeeff"},
          {"blk.0.attn_q.weight", {2, 2}, kF32, "0000111122223333"},
          {"blk.0.ids", {1}, kI32, "abcd"},
          {"output_norm.weight", {5}, kBF16, "0123456789"}};
}

class GgufTest : public testing::Test {
 protected:
  std::unique_ptr<Checkpoint> Open(const std::string& content) {
    folder_.Write("model.gguf", content);
    auto opened = Checkpoint::Open(folder_.Path("model.gguf"));
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  void ExpectFails(const std::string& content, const std::string& why) {
    folder_.Write("model.gguf", content);
    const auto opened = Checkpoint::Open(folder_.Path("model.gguf"));
    ASSERT_FALSE(opened.ok()) << why;
    EXPECT_NE(opened.status().message().find(why), std::string::npos) << opened.status().message();
    EXPECT_TRUE(opened.status().message().starts_with(folder_.Path("model.gguf") + ": "));
  }
  // The file that is left when tensors are taken out, and that they are put back into.
  static void ExpectPutTogether(const Checkpoint& checkpoint, const std::string& whole) {
    const auto files = checkpoint.ReadFiles();
    ASSERT_TRUE(files.ok() && files->size() == 1);
    EXPECT_EQ((*files)[0].name, "model.gguf-header");
    const std::string rest((*files)[0].content.begin(), (*files)[0].content.end());
    const auto header = ParseGgufHeader((*files)[0].content);
    ASSERT_TRUE(header.ok() && *header);
    std::string made;
    size_t used = 0;
    for (size_t i = 0; i < checkpoint.tensors().size(); ++i) {
      const StoredTensor& t = (*header)->tensors[i];
      made += rest.substr(used, t.begin - made.size());
      used += t.begin - (i == 0 ? 0 : (*header)->tensors[i - 1].end);
      std::vector<uint8_t> bytes(t.end - t.begin);
      ASSERT_TRUE(checkpoint.Read(i, bytes).ok());
      made.append(bytes.begin(), bytes.end());
    }
    EXPECT_EQ(made + rest.substr(used), whole);
  }

  TemporaryFolder folder_;
};

TEST_F(GgufTest, ReadsTensorsAndSkipsMetadata) {
  for (const uint32_t version : {2u, 3u}) {
    GgufOptions options;
    options.version = version;
    const std::string whole = MakeGguf(Metadata(), Tensors(), options);
    const auto checkpoint = Open(whole);
    ASSERT_NE(checkpoint, nullptr);
    ASSERT_EQ(checkpoint->tensors().size(), 4u);
    EXPECT_EQ(checkpoint->tensors()[0].name, "token_embd.weight");
    EXPECT_EQ(checkpoint->tensors()[0].shape, (std::vector<uint64_t>{2, 3}));
    EXPECT_EQ(checkpoint->tensors()[2].dtype, DType::kI32);
    EXPECT_EQ(checkpoint->tensors()[3].dtype, DType::kBF16);
    EXPECT_EQ(checkpoint->shards()[0].name, "model.safetensors");
    ExpectPutTogether(*checkpoint, whole);
  }
}

TEST_F(GgufTest, OddPaddingComesBack) {
  GgufOptions options;
  options.padding = 'p';
  std::string whole = MakeGguf(Metadata(), Tensors(), options);
  ExpectPutTogether(*Open(whole), whole);
  options.tail = "odd end";
  whole = MakeGguf(Metadata(), Tensors(), options);
  ExpectPutTogether(*Open(whole), whole);
  options.tail = "";
  options.alignment = 8;
  std::vector<std::string> entries = Metadata();
  entries.push_back(GgufEntry("general.alignment", 4, Little(8u)));
  whole = MakeGguf(entries, Tensors(), options);
  ExpectPutTogether(*Open(whole), whole);
}

TEST_F(GgufTest, QuantisedTensorsAreNamed) {
  ExpectFails(MakeGguf({}, {{"blk.0.w", {256}, kQ4K, std::string(144, 'q')}}),
              "tensor 'blk.0.w': is of type Q4_K, expected F32, F16, BF16");
  ExpectFails(MakeGguf({}, {{"blk.0.w", {256}, 99, ""}}), "is of type number 99");
}

TEST_F(GgufTest, OtherVersionsAreRefused) {
  GgufOptions options;
  options.version = 1;
  ExpectFails(MakeGguf({}, Tensors(), options), "is GGUF version 1, expected 2 or 3");
  options.version = 0x03000000;
  ExpectFails(MakeGguf({}, Tensors(), options), "is a big-endian GGUF file");
}

TEST_F(GgufTest, MisplacedAndRepeatedTensorsAreNamed) {
  GgufOptions options;
  options.shift = 32;
  ExpectFails(MakeGguf({}, Tensors(), options), "'output_norm.weight': its data begins at byte");
  std::vector<GgufTestTensor> tensors = Tensors();
  tensors[3].name = tensors[0].name;
  ExpectFails(MakeGguf({}, tensors), "tensor 'token_embd.weight' is also in");
}

TEST_F(GgufTest, HugeNumbersAreRefused) {
  const uint64_t huge = UINT64_MAX / 2;
  ExpectFails("GGUF" + Little(3u) + Little(huge) + Little(huge), "names 9223372036854775807");
  ExpectFails("GGUF" + Little(3u) + Little<uint64_t>(1) + Little(huge), "header goes on beyond");
  for (const uint32_t type : {0u, 8u, 9u, 12u}) {
    ExpectFails(MakeGguf({GgufEntry("k", 9, Little(type) + Little(huge))}, Tensors()),
                type == 9 ? "metadata 'k'" : "header goes on beyond");
  }
  ExpectFails(MakeGguf({GgufEntry("k", 77, "")}, {}), "metadata 'k': type 77");
  ExpectFails(MakeGguf({}, {{"w", {huge, huge}, kF32, ""}}), "is too large");
  ExpectFails(MakeGguf({}, {{"w", {0, huge, huge}, kF32, ""}}), "is too large");
  ExpectFails(MakeGguf({}, {{"w", std::vector<uint64_t>(9, 1), kF32, ""}}), "has 9 dimensions");
  ExpectFails(MakeGguf({}, {{"w", {1 << 20}, kF32, ""}}), "it is cut short");
  std::string deep;
  for (int i = 0; i < 100; ++i) deep += Little(9u) + Little<uint64_t>(1);
  ExpectFails(MakeGguf({GgufEntry("k", 9, deep)}, {}), "more than 8 deep");
  for (const uint32_t alignment : {0u, 3u}) {
    ExpectFails(MakeGguf({GgufEntry("general.alignment", 4, Little(alignment))}, Tensors()),
                "expected a power of two");
  }
  ExpectFails(MakeGguf({}, Tensors()) + std::string((1 << 20) + 1, 'x'),
              "follow, expected padding");
}

TEST_F(GgufTest, EveryTruncationOfTheHeaderAndDataIsAnError) {
  GgufOptions options;
  options.tail = "!";
  const std::string whole = MakeGguf(Metadata(), Tensors(), options);
  for (size_t size = 0; size + 1 < whole.size(); ++size) {
    const std::string cut = whole.substr(0, size);
    EXPECT_FALSE(ReadGgufHeader(MemoryReader(cut), size).ok()) << size;
  }
}

TEST_F(GgufTest, AHeaderLargerThanTheFirstReadIsRead) {
  std::vector<std::string> entries = Metadata();
  entries.push_back(GgufEntry("big", 8, GgufText(std::string(5 << 20, 'x'))));
  const std::string whole = MakeGguf(entries, Tensors());
  ExpectPutTogether(*Open(whole), whole);
}

TEST_F(GgufTest, PartsOfOneFileAreReadTogether) {
  const std::vector<GgufTestTensor> tensors = Tensors();
  folder_.Write("m-00001-of-00002.gguf", MakeGguf({}, {tensors[0]}));
  EXPECT_TRUE(Checkpoint::Open(folder_.path()).ok());
  folder_.Write("m-00002-of-00002.gguf", MakeGguf({}, {tensors[1]}));
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  EXPECT_EQ((*checkpoint)->tensors().size(), 2u);
  std::vector<std::string> names;
  const auto files = (*checkpoint)->ReadFiles();
  ASSERT_TRUE(files.ok());
  for (const SourceFile& f : *files) names.push_back(f.name);
  EXPECT_EQ(names, (std::vector<std::string>{"m-00001-of-00002.gguf-header",
                                             "m-00002-of-00002.gguf-header",
                                             "model.safetensors.index.json"}));
  folder_.Write("other.gguf", MakeGguf({}, {tensors[2]}));
  const auto mixed = Checkpoint::Open(folder_.path());
  ASSERT_FALSE(mixed.ok());
  EXPECT_NE(mixed.status().message().find("holds 3 .gguf files"), std::string::npos);
}

TEST_F(GgufTest, WritesWhatItReads) {
  std::vector<StoredTensor> tensors = {{"a", DType::kBF16, {2, 3}, 0, 0, {}, {}},
                                       {"b", DType::kI64, {}, 0, 0, {}, {}}};
  const auto header = SerializeGgufHeader({{"general.name", "x"}}, &tensors);
  ASSERT_TRUE(header.ok());
  const auto parsed = ParseGgufHeader(*header);
  ASSERT_TRUE(parsed.ok() && *parsed);
  EXPECT_EQ((*parsed)->data_begin, header->size());
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ((*parsed)->tensors[i].shape, tensors[i].shape);
    EXPECT_EQ((*parsed)->tensors[i].begin, tensors[i].begin);
    EXPECT_EQ((*parsed)->tensors[i].end, tensors[i].end);
  }
}

TEST_F(GgufTest, WhatLlamaCppWouldRefuseIsNotWritten) {
  for (const StoredTensor& t : {StoredTensor{"w", DType::kU16, {1}, 0, 0, {}, {}},
                                StoredTensor{std::string(64, 'n'), DType::kF32, {1}, 0, 0, {}, {}},
                                StoredTensor{"w", DType::kF32, {1, 1, 1, 1, 1}, 0, 0, {}, {}}}) {
    std::vector<StoredTensor> tensors = {t};
    const auto header = SerializeGgufHeader({}, &tensors);
    ASSERT_FALSE(header.ok());
    EXPECT_EQ(header.status().code(), ErrorCode::kUnsupported);
    EXPECT_NE(header.status().message().find("--format safetensors"), std::string::npos);
  }
}

}  // namespace
}  // namespace nwc
