#include "tools/parse_json.h"

#include <gtest/gtest.h>

#include <string>

namespace nwc {
namespace {

std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

template <typename Json>
class ParseJsonTest : public testing::Test {};
using Kinds = testing::Types<nlohmann::json, nlohmann::ordered_json>;
TYPED_TEST_SUITE(ParseJsonTest, Kinds);

TYPED_TEST(ParseJsonTest, GivesTheValue) {
  const auto json = ParseJson<TypeParam>(R"({"b": [1, {"c": "x"}], "a": null})");
  EXPECT_EQ(json["b"][1]["c"], "x");
  EXPECT_TRUE(json["a"].is_null());
  EXPECT_FALSE(ParseJson<TypeParam>(Nested(kMaxJsonDepth)).is_discarded());
}

TYPED_TEST(ParseJsonTest, DiscardsWhatIsNoJson) {
  for (const char* text : {"", "{", "[1, 2", "{\"a\": }", "[1] 2"}) {
    EXPECT_TRUE(ParseJson<TypeParam>(text).is_discarded()) << text;
  }
}

// Members after the nested one make an ordered object grow, which copies it.
TYPED_TEST(ParseJsonTest, DiscardsDeepNestingWithoutRecursion) {
  EXPECT_TRUE(ParseJson<TypeParam>(Nested(kMaxJsonDepth + 2)).is_discarded());
  const std::string deep = Nested(1'000'000);
  EXPECT_TRUE(ParseJson<TypeParam>(deep).is_discarded());
  EXPECT_TRUE(
      ParseJson<TypeParam>("{\"a\": " + deep + ", \"b\": 1, \"c\": 2, \"d\": 3}").is_discarded());
}

}  // namespace
}  // namespace nwc
