#include "tools/kl_search.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nwc {
namespace {

// A model whose KL is `at_four` at 4 bits and falls by `octaves` a bit.
struct Law {
  double at_four, octaves;
  int calls = 0;
  Result<double> operator()(double bits) {
    ++calls;
    return at_four * std::exp2(-octaves * (bits - 4));
  }
};

TEST(FindBitsForKl, KeepsTheBudgetClosely) {
  for (const double octaves : {1.2, 2.0, 3.0}) {
    Law law{0.02, octaves};
    const auto found = FindBitsForKl(0.05, 4.5, std::ref(law));
    ASSERT_TRUE(found.ok());
    EXPECT_LE(found->kl, 0.05);
    EXPECT_GE(found->kl, 0.95 * 0.05);
    EXPECT_LE(law.calls, 6) << octaves;
  }
}

TEST(FindBitsForKl, TakesTheFewestBitsWhenAllKeepIt) {
  Law law{1e-6, 2.0};
  const auto found = FindBitsForKl(1, 4.5, std::ref(law));
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->bits, 1);
}

TEST(FindBitsForKl, SaysWhenSevenBitsAreNotEnough) {
  Law law{1, 2.0};
  const auto found = FindBitsForKl(1e-4, 4.5, std::ref(law));
  EXPECT_EQ(found.status().code(), ErrorCode::kUsage);
  EXPECT_NE(found.status().message().find("--profile exact"), std::string::npos);
}

TEST(FindBitsForKl, PassesErrorsOn) {
  const auto found = FindBitsForKl(
      0.1, 4, [](double) -> Result<double> { return Status(ErrorCode::kCancelled, "stopped"); });
  EXPECT_EQ(found.status().code(), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace nwc
