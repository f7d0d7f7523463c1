#include "tools/shard_index.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

void ExpectCorrupt(const std::string& json, const std::string& why) {
  const auto map = ParseShardIndex(json);
  ASSERT_FALSE(map.ok()) << json;
  EXPECT_EQ(map.status().code(), ErrorCode::kCorrupt);
  EXPECT_NE(map.status().message().find(why), std::string::npos) << map.status().message();
}

TEST(ShardIndexTest, ReadsTheMapAndIgnoresTheRest) {
  const auto map =
      ParseShardIndex(R"({"metadata":{"total_size":1,"x":[{"weight_map":{"no":"no"}}]},)"
                      R"("weight_map":{"a":"1.safetensors","b":"2.safetensors"},"more":null})");
  ASSERT_TRUE(map.ok()) << map.status().ToString();
  EXPECT_EQ(*map,
            (std::map<std::string, std::string>{{"a", "1.safetensors"}, {"b", "2.safetensors"}}));
}

TEST(ShardIndexTest, MapMustBeAnObjectOfStrings) {
  ExpectCorrupt("{}", "weight_map is missing");
  ExpectCorrupt("[]", "expected an object");
  ExpectCorrupt("{\"weight_map\":[]}", "expected an object");
  ExpectCorrupt("{\"weight_map\":{\"a\":1}}", "expected a string");
  ExpectCorrupt("{\"weight_map\":{\"a\":{}}}", "expected a string");
  ExpectCorrupt("{\"weight_map\":", "not JSON");
  ExpectCorrupt(std::string("{\"weight_map\":{}}\0", 18), "zero byte");
}

TEST(ShardIndexTest, DuplicatesAreRejected) {
  ExpectCorrupt(R"({"weight_map":{"a":"1","a":"2"}})", "'a' is there twice");
  ExpectCorrupt(R"({"weight_map":{},"weight_map":{}})", "twice");
}

TEST(ShardIndexTest, PathsAreRejected) {
  for (const char* bad : {"../x", "/etc/passwd", "a/b", "..", ".", "", "a\\\\b", "a\\u0001"}) {
    ExpectCorrupt(std::string(R"({"weight_map":{"a":")") + bad + "\"}}", "not acceptable");
  }
}

TEST(ShardIndexTest, HostileNestingEndsTheParse) {
  ExpectCorrupt("{\"x\":" + std::string(1'000'000, '['), "levels deep");
}

}  // namespace
}  // namespace nwc
