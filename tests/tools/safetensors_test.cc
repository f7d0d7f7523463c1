#include "tools/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "format/layout.h"

namespace nwc {
namespace {

std::vector<uint8_t> WithLength(const std::string& json) {
  std::vector<uint8_t> bytes(8 + json.size());
  StoreLittle<uint64_t>(bytes.data(), json.size());
  std::copy(json.begin(), json.end(), bytes.begin() + 8);
  return bytes;
}

Result<SafetensorsHeader> Parse(const std::string& json, uint64_t data_bytes) {
  const std::vector<uint8_t> bytes = WithLength(json);
  return ParseSafetensorsHeader(bytes, bytes.size() + data_bytes);
}

// The error of a header that must be rejected.
Status Rejection(const std::string& json, uint64_t data_bytes) {
  const auto parsed = Parse(json, data_bytes);
  EXPECT_FALSE(parsed.ok()) << json;
  return parsed.ok() ? Status() : parsed.status();
}

void ExpectCorrupt(const std::string& json, uint64_t data_bytes, const std::string& why) {
  const Status status = Rejection(json, data_bytes);
  EXPECT_EQ(status.code(), ErrorCode::kCorrupt) << json;
  EXPECT_NE(status.message().find(why), std::string::npos) << status.message();
}

std::string Tensor(const std::string& name, const std::string& rest) {
  return "{\"" + name + "\":{" + rest + "}}";
}

std::string Shaped(const std::string& shape, const std::string& offsets) {
  return Tensor("w", R"("dtype":"BF16","shape":)" + shape + R"(,"data_offsets":)" + offsets);
}

TEST(SafetensorsTest, ReadsTensorsInFileOrder) {
  const auto header = Parse(R"({"b":{"dtype":"F32","shape":[2],"data_offsets":[6,14]},)"
                            R"("__metadata__":{"format":"pt"},)"
                            R"("a":{"data_offsets":[0,6],"shape":[3,1],"dtype":"BF16"}}   )",
                            14);
  ASSERT_TRUE(header.ok()) << header.status().ToString();
  ASSERT_EQ(header->entries.size(), 2u);
  EXPECT_EQ(header->entries[0].name, "a");
  EXPECT_EQ(header->entries[0].shape, (std::vector<uint64_t>{3, 1}));
  EXPECT_EQ(header->entries[0].begin, header->data_begin);
  EXPECT_EQ(header->entries[1].dtype, DType::kF32);
  EXPECT_EQ(header->entries[1].end, header->data_begin + 14);
  EXPECT_EQ(header->metadata, R"({"format":"pt"})");
}

TEST(SafetensorsTest, ScalarsAndEmptyTensorsAreValid) {
  const auto header = Parse(R"({"s":{"dtype":"F64","shape":[],"data_offsets":[0,8]},)"
                            R"("e":{"dtype":"I8","shape":[0,5],"data_offsets":[0,0]},)"
                            R"("z":{"dtype":"I8","shape":[0],"data_offsets":[8,8]}})",
                            8);
  ASSERT_TRUE(header.ok()) << header.status().ToString();
  EXPECT_EQ(header->entries[0].name, "e");
  EXPECT_EQ(header->entries[1].name, "s");
  EXPECT_TRUE(header->entries[1].shape.empty());
  EXPECT_EQ(header->entries[2].name, "z");
}

TEST(SafetensorsTest, FileWithoutTensorsIsValid) {
  EXPECT_TRUE(Parse("{}", 0).ok());
  ExpectCorrupt("{}", 1, "bytes of no tensor");
}

TEST(SafetensorsTest, EveryDTypeIsKnown) {
  for (int i = 0; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    const std::string size = std::to_string(DTypeSize(dtype));
    const auto header = Parse(Tensor("w", std::string("\"dtype\":\"") + DTypeName(dtype) +
                                              R"(","shape":[1],"data_offsets":[0,)" + size + "]"),
                              DTypeSize(dtype));
    ASSERT_TRUE(header.ok()) << header.status().ToString();
    EXPECT_EQ(header->entries[0].dtype, dtype);
  }
}

TEST(SafetensorsTest, FileShorterThanItsLengthFieldIsRejected) {
  const std::vector<uint8_t> bytes(7);
  const auto end = SafetensorsHeaderEnd(bytes, 7);
  ASSERT_FALSE(end.ok());
  EXPECT_NE(end.status().message().find("7 bytes"), std::string::npos);
}

TEST(SafetensorsTest, HeaderAboveTheLimitIsRejected) {
  std::vector<uint8_t> bytes(8);
  StoreLittle<uint64_t>(bytes.data(), kMaxSafetensorsHeader + 1);
  const auto end = SafetensorsHeaderEnd(bytes, 1ull << 40);
  ASSERT_FALSE(end.ok());
  EXPECT_NE(end.status().message().find("100000001"), std::string::npos);
}

TEST(SafetensorsTest, HeaderBeyondTheFileIsRejected) {
  std::vector<uint8_t> bytes = WithLength("{}");
  EXPECT_FALSE(SafetensorsHeaderEnd(bytes, bytes.size() - 1).ok());
  StoreLittle<uint64_t>(bytes.data(), 90'000'000);
  EXPECT_FALSE(SafetensorsHeaderEnd(bytes, bytes.size()).ok());
}

TEST(SafetensorsTest, LfsPointerIsExplained) {
  const std::string text = "version https://git-lfs.github.com/spec/v1\n";
  const std::vector<uint8_t> bytes(text.begin(), text.end());
  const auto end = SafetensorsHeaderEnd(bytes, bytes.size());
  ASSERT_FALSE(end.ok());
  EXPECT_NE(end.status().message().find("git lfs pull"), std::string::npos);
}

TEST(SafetensorsTest, TextThatIsNoObjectIsRejected) {
  ExpectCorrupt("", 0, "does not begin");
  ExpectCorrupt("[]", 0, "does not begin");
  ExpectCorrupt(" {}", 0, "does not begin");
  ExpectCorrupt("{", 0, "not JSON");
  ExpectCorrupt("{} x", 0, "not JSON");
  ExpectCorrupt("{}{}", 0, "not JSON");
  ExpectCorrupt("{\"a\xFF\":1}", 0, "not JSON");
  ExpectCorrupt(std::string("{}\0", 3), 0, "zero byte");
}

TEST(SafetensorsTest, UnknownDTypeIsRejected) {
  ExpectCorrupt(Tensor("w", R"("dtype":"FLOAT","shape":[1],"data_offsets":[0,1])"), 1, "'FLOAT'");
  const Status newer =
      Rejection(Tensor("w", R"("dtype":"F8_E8M0","shape":[1],"data_offsets":[0,1])"), 1);
  EXPECT_EQ(newer.code(), ErrorCode::kUnsupported);
}

TEST(SafetensorsTest, MissingFieldIsRejected) {
  ExpectCorrupt(Tensor("w", R"("shape":[1],"data_offsets":[0,1])"), 1, "dtype is missing");
  ExpectCorrupt(Tensor("w", R"("dtype":"U8","data_offsets":[0,1])"), 1, "shape is missing");
  ExpectCorrupt(Tensor("w", R"("dtype":"U8","shape":[1])"), 1, "data_offsets is missing");
}

TEST(SafetensorsTest, UnknownFieldIsRejected) {
  ExpectCorrupt(Tensor("w", R"("dtype":"U8","shape":[1],"data_offsets":[0,1],"bits":4)"), 1,
                "'bits'");
}

TEST(SafetensorsTest, WrongTypesAreRejected) {
  ExpectCorrupt(R"({"w":3})", 0, "expected an object");
  ExpectCorrupt(R"({"w":[]})", 0, "expected an object");
  ExpectCorrupt(Tensor("w", R"("dtype":8)"), 0, "expected a string");
  ExpectCorrupt(Tensor("w", R"("dtype":["U8"])"), 0, "expected a string");
  ExpectCorrupt(Tensor("w", R"("shape":"1")"), 0, "expected an array");
  ExpectCorrupt(Tensor("w", R"("shape":{})"), 0, "expected an array");
  ExpectCorrupt(Tensor("w", R"("data_offsets":null)"), 0, "expected an array");
}

TEST(SafetensorsTest, NumbersThatAreNoSizesAreRejected) {
  for (const char* bad :
       {"[-1]", "[1.0]", "[1e3]", "[18446744073709551616]", "[true]", "[\"1\"]", "[[1]]", "[{}]"}) {
    ExpectCorrupt(Shaped(bad, "[0,2]"), 2, "expected whole numbers");
    ExpectCorrupt(Tensor("w", std::string("\"data_offsets\":") + bad), 2, "expected whole numbers");
  }
}

TEST(SafetensorsTest, OffsetsAreTwoNumbers) {
  ExpectCorrupt(Shaped("[1]", "[2]"), 2, "fewer than two");
  ExpectCorrupt(Shaped("[1]", "[0,2,4]"), 2, "more than two");
}

TEST(SafetensorsTest, DuplicatesAreRejected) {
  const std::string w = R"("w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  ExpectCorrupt("{" + w + "," + w + "}", 1, "'w': the name is there twice");
  ExpectCorrupt(Tensor("w", R"("dtype":"U8","dtype":"I8")"), 1, "'dtype' is there twice");
  ExpectCorrupt(R"({"__metadata__":{},"__metadata__":{}})", 0, "twice");
  ExpectCorrupt(R"({"__metadata__":{"a":"1","a":"2"}})", 0, "'a' is there twice");
}

TEST(SafetensorsTest, MetadataHoldsStringsOnly) {
  ExpectCorrupt(R"({"__metadata__":{"a":1}})", 0, "expected a string");
  ExpectCorrupt(R"({"__metadata__":{"a":{}}})", 0, "expected a string");
  ExpectCorrupt(R"({"__metadata__":"a"})", 0, "expected an object");
}

TEST(SafetensorsTest, HostileNestingEndsTheParse) {
  const std::string deep(1'000'000, '[');
  ExpectCorrupt(Tensor("w", "\"shape\":" + deep), 0, "expected whole numbers");
  ExpectCorrupt("{\"w\":" + deep, 0, "expected an object");
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  ExpectCorrupt(objects, 0, "unknown field");
}

TEST(SafetensorsTest, BackwardOffsetsAreRejected) {
  ExpectCorrupt(Shaped("[1]", "[4,2]"), 4, "run backwards");
}

TEST(SafetensorsTest, SizeMustMatchTheShape) {
  ExpectCorrupt(Shaped("[3]", "[0,5]"), 5, "hold 5 bytes, expected 6");
}

TEST(SafetensorsTest, OverflowingShapeIsRejected) {
  ExpectCorrupt(Shaped("[9223372036854775808]", "[0,0]"), 0, "overflows");
  ExpectCorrupt(Shaped("[4294967296,4294967296,0]", "[0,0]"), 0, "overflows");
}

TEST(SafetensorsTest, HolesAndOverlapsAreRejected) {
  const std::string a = R"("a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]})";
  ExpectCorrupt("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[3,5]}})", 5,
                "'b': data_offsets [3, 5] leave a hole");
  ExpectCorrupt("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})", 3,
                "'b': data_offsets [1, 3] overlap");
  ExpectCorrupt(Shaped("[1]", "[1,3]"), 3, "leave a hole");
}

TEST(SafetensorsTest, DataEndsWithTheFile) {
  ExpectCorrupt(Shaped("[2]", "[0,4]"), 3, "cut short");
  ExpectCorrupt(Shaped("[2]", "[0,4]"), 5, "bytes of no tensor");
}

TEST(SafetensorsTest, OffsetsNearTheTopOfTheRangeAreRejected) {
  ExpectCorrupt(Tensor("w", R"("dtype":"U8","shape":[18446744073709551615],)"
                            R"("data_offsets":[0,18446744073709551615])"),
                0, "cut short");
}

TEST(SafetensorsTest, MoreThanAContainerHoldsIsUnsupported) {
  EXPECT_EQ(Rejection(Shaped("[1,1,1,1,1,1,1,1,1]", "[0,2]"), 2).code(), ErrorCode::kUnsupported);
  const std::string rest = R"("dtype":"U8","shape":[1],"data_offsets":[0,1])";
  EXPECT_EQ(Rejection(Tensor("", rest), 1).code(), ErrorCode::kUnsupported);
  EXPECT_EQ(Rejection(Tensor(std::string(4097, 'n'), rest), 1).code(), ErrorCode::kUnsupported);
  EXPECT_TRUE(Parse(Tensor(std::string(4096, 'n'), rest), 1).ok());
}

TEST(SafetensorsTest, HeaderSurvivesARoundTrip) {
  std::vector<SafetensorsEntry> entries = {{"b \"quoted\"\n\xC3\xA9", DType::kBF16, {3, 5}},
                                           {"scalar", DType::kF64, {}},
                                           {"empty", DType::kU8, {0, 7}},
                                           {"a", DType::kF8E4M3, {1}}};
  const std::string metadata = R"({"z":"1","a":"\"2\""})";
  const std::vector<uint8_t> bytes = SerializeSafetensorsHeader(&entries, metadata);
  EXPECT_EQ(bytes.size() % 8, 0u);
  EXPECT_EQ(bytes, SerializeSafetensorsHeader(&entries, metadata));
  EXPECT_EQ(std::string(bytes.begin() + 8, bytes.begin() + 24), "{\"__metadata__\":");
  const auto parsed = ParseSafetensorsHeader(bytes, bytes.size() + 39);
  ASSERT_TRUE(parsed.ok()) << parsed.status().ToString();
  EXPECT_EQ(parsed->metadata, metadata);
  ASSERT_EQ(parsed->entries.size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    EXPECT_EQ(parsed->entries[i].name, entries[i].name);
    EXPECT_EQ(parsed->entries[i].dtype, entries[i].dtype);
    EXPECT_EQ(parsed->entries[i].shape, entries[i].shape);
    EXPECT_EQ(parsed->entries[i].begin, entries[i].begin);
    EXPECT_EQ(parsed->entries[i].end, entries[i].end);
  }
}

TEST(SafetensorsTest, MetadataThatIsNoObjectOfStringsIsLeftOut) {
  const auto header_of = [](const std::string& metadata) {
    std::vector<SafetensorsEntry> entries;
    const auto bytes = SerializeSafetensorsHeader(&entries, metadata);
    return std::string(bytes.begin() + 8, bytes.end());
  };
  EXPECT_EQ(header_of(""), "{}      ");
  EXPECT_EQ(header_of("broken"), "{}      ");
  EXPECT_EQ(header_of("{\"a\":1}"), "{}      ");
  EXPECT_EQ(header_of(R"({},"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]})"), "{}      ");
  EXPECT_EQ(header_of("{}"), "{\"__metadata__\":{}}     ");
}

}  // namespace
}  // namespace nwc
