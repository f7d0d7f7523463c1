// The texts that hold a set together: its index, and what shards say and are called.
#include "loader/shard_set.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

TEST(SetIndexTest, RefusesWhatIsNoIndex) {
  const std::string shard = R"({"file":"a.nwc","size":1,"root_hash":"00"})";
  const auto refuse = [](const std::string& json) {
    const auto index = ParseSetIndex(json);
    EXPECT_EQ(index.status().code(), ErrorCode::kCorrupt) << json;
  };
  EXPECT_TRUE(ParseSetIndex("{\"shards\":[" + shard + R"(],"weight_map":{"t":"a.nwc"}})").ok());
  for (const char* json :
       {"", "{", "[]", "7", "{}", R"({"shards":[],"weight_map":{}})",
        R"({"shards":7,"weight_map":{}})", R"({"shards":[7],"weight_map":{}})"}) {
    refuse(json);
  }
  refuse("{\"shards\":[" + shard + R"(],"weight_map":[]})");
  refuse("{\"shards\":[" + shard + R"(],"weight_map":{"t":"b.nwc"}})");
  refuse("{\"shards\":[" + shard + R"(],"weight_map":{"t":7}})");
  refuse("{\"shards\":[" + shard + "," + shard + R"(],"weight_map":{}})");
  for (const char* file : {"", ".", "..", "../a.nwc", "b/a.nwc", "a\\\\b", "a?b", "a#b"}) {
    refuse(std::string(R"({"shards":[{"file":")") + file +
           R"(","size":1,"root_hash":"00"}],"weight_map":{}})");
  }
  refuse(R"({"shards":[{"file":"a.nwc","size":-1,"root_hash":"00"}],"weight_map":{}})");
  refuse(R"({"shards":[{"file":"a.nwc","size":1}],"weight_map":{}})");
}

TEST(ShardNameTest, ReadsWhatItWrites) {
  for (const ShardName& name : {ShardName{"m", 1, 1}, ShardName{"a-00001-of-00002", 7, 99999}}) {
    const auto read = ParseShardName(FormatShardName(name));
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(read->stem, name.stem);
    EXPECT_EQ(read->number, name.number);
    EXPECT_EQ(read->count, name.count);
  }
  EXPECT_EQ(FormatShardName({"model", 1, 4}), "model-00001-of-00004.nwc");
  for (const char* name :
       {"", ".nwc", "m.nwc", "-00001-of-00001.nwc", "m-00000-of-00001.nwc", "m-00002-of-00001.nwc",
        "m-0001-of-0001.nwc", "m-00001-of-00001.safetensors", "m-00001_of_00001.nwc",
        "m-+0001-of-00001.nwc", "m-00001-of-000x1.nwc"}) {
    EXPECT_FALSE(ParseShardName(name).has_value()) << name;
  }
}

TEST(ShardIdentityTest, IsReadFromOptions) {
  const auto found = ParseShardIdentity(R"({"bits":4,"shard":{"set":"x","number":2,"count":3}})");
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(*found, (ShardIdentity{"x", 2, 3}));
  for (const char* options :
       {"", "{}", "text", R"({"shard":7})", R"({"shard":{"set":"x","number":0,"count":3}})",
        R"({"shard":{"set":7,"number":1,"count":3}})", R"({"shard":{"number":1,"count":3}})"}) {
    EXPECT_FALSE(ParseShardIdentity(options).has_value()) << options;
  }
}

}  // namespace
}  // namespace nwc
