#include "loader/name_hint.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

using Names = std::vector<std::string_view>;

TEST(NameHint, PrefersNamesThatContainTheText) {
  EXPECT_EQ(SimilarNames("norm", {"nork", "a.norm.weight", "b.norm.weight"}),
            (Names{"a.norm.weight", "b.norm.weight", "nork"}));
}

TEST(NameHint, FindsNamesInsideTheText) {
  EXPECT_EQ(SimilarNames("transformer.h.0.attn", {"h.0.attn", "h.1.attn"}), Names{"h.0.attn"});
}

TEST(NameHint, FindsTypingErrors) {
  EXPECT_EQ(SimilarNames("layers.0.wieght", {"layers.0.weight", "layers.0.bias"}),
            Names{"layers.0.weight"});
}

TEST(NameHint, GivesThreeAtMost) {
  EXPECT_EQ(SimilarNames("x", {"x1", "x2", "x3", "x4"}).size(), 3u);
}

TEST(NameHint, ShortNamesAreNotSimilarToEverything) {
  EXPECT_TRUE(SimilarNames("ab", {"xy", "q"}).empty());
  EXPECT_TRUE(SimilarNames("", {"xy"}).empty());
}

TEST(NameHint, ReadsAsASentence) {
  EXPECT_EQ(NameHint({}), "");
  EXPECT_EQ(NameHint({"a"}), "; did you mean 'a'?");
  EXPECT_EQ(NameHint({"a", "b", "c"}), "; did you mean 'a', 'b' or 'c'?");
}

}  // namespace
}  // namespace nwc
