#include "encoder/ldl.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/encoder/memory_statistics.h"

namespace nwc {
namespace {

class Ldl : public testing::Test {
 protected:
  WorkerPool pool_{2};
};

// L·D·Lᵀ, element (i, j).
double Product(const LdlFactors& f, size_t i, size_t j) {
  const auto at = [&](size_t r, size_t c) {
    return r == c ? 1.0 : static_cast<double>(f.lower[r * f.size + c]);
  };
  double sum = 0;
  for (size_t k = 0; k <= std::min(i, j); ++k) sum += at(i, k) * f.diagonal[k] * at(j, k);
  return sum;
}

TEST_F(Ldl, FactorsMultiplyBackToTheMatrix) {
  for (const size_t n : {1UL, 5UL, 64UL, 150UL}) {
    const auto h = CorrelatedMoment(n, 3);
    const auto f = FactorLdl(h, n, 0, &pool_);
    ASSERT_TRUE(f.ok()) << f.status().message();
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j <= i; ++j) {
        EXPECT_NEAR(Product(*f, i, j), h[i * n + j], 1e-4 * std::fabs(h[0]) * 49) << n;
      }
    }
  }
}

TEST_F(Ldl, TwoByTwoIsTheClosedForm) {
  const std::vector<float> h = {4, 2, 2, 3};
  const auto f = FactorLdl(h, 2, 0, &pool_);
  ASSERT_TRUE(f.ok());
  EXPECT_DOUBLE_EQ(f->diagonal[0], 4);
  EXPECT_DOUBLE_EQ(f->diagonal[1], 2);  // 3 - 2²/4
  EXPECT_FLOAT_EQ(f->lower[2], 0.5f);
}

TEST_F(Ldl, UpperFactorsMultiplyBackToTheMatrix) {
  const size_t n = 70;
  const auto o = CorrelatedMoment(n, 6);
  const auto f = FactorUdu(o, n, 0, &pool_);
  ASSERT_TRUE(f.ok());
  const auto at = [&](size_t r, size_t c) {
    return r == c ? 1.0 : static_cast<double>(f->upper[r * n + c]);
  };
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      EXPECT_TRUE(j > i || f->upper[i * n + j] == 0);
      double sum = 0;
      for (size_t k = std::max(i, j); k < n; ++k) sum += at(i, k) * f->diagonal[k] * at(j, k);
      EXPECT_NEAR(sum, o[i * n + j], 1e-4 * std::fabs(o[0]) * 49);
    }
  }
}

TEST_F(Ldl, DampingAddsToTheDiagonalInPartsOfItsMean) {
  const std::vector<float> h = {4, 0, 0, 2};
  const auto f = FactorLdl(h, 2, 0.1, &pool_);
  ASSERT_TRUE(f.ok());
  EXPECT_NEAR(f->diagonal[0], 4.3, 1e-12);
  EXPECT_NEAR(f->diagonal[1], 2.3, 1e-12);
}

TEST_F(Ldl, DoesNotDependOnTheNumberOfThreads) {
  const auto h = CorrelatedMoment(200, 5);
  WorkerPool one(1), three(3);
  const auto a = FactorLdl(h, 200, 0.01, &one);
  const auto b = FactorLdl(h, 200, 0.01, &three);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_EQ(a->lower, b->lower);
  EXPECT_EQ(a->diagonal, b->diagonal);
}

TEST_F(Ldl, RefusesWhatIsNotPositiveDefinite) {
  EXPECT_EQ(FactorLdl(std::vector<float>{1, 2, 2, 1}, 2, 0, &pool_).status().code(),
            ErrorCode::kUsage);
  EXPECT_EQ(FactorLdl(std::vector<float>{0, 0, 0, 0}, 2, 0, &pool_).status().code(),
            ErrorCode::kUsage);
  EXPECT_EQ(FactorLdl(std::vector<float>{NAN, 0, 0, 1}, 2, 0, &pool_).status().code(),
            ErrorCode::kUsage);
}

// With feedback B (B_ki = block coefficient), rows of E (I + B) have a block-diagonal metric: the
// parts of H between blocks vanish in (I+B)⁻¹ H (I+B)⁻ᵀ.
TEST_F(Ldl, BlockFeedbackLeavesNoCorrelationBetweenBlocks) {
  const size_t n = 70, block = 16;
  const auto h = CorrelatedMoment(n, 7);
  const auto feedback = BlockFeedback(h, n, block, 0, &pool_);
  ASSERT_TRUE(feedback.ok());
  // M = (I+B)⁻¹ H by forward substitution down the rows, then the same on the transpose.
  std::vector<double> m(h.begin(), h.end());
  for (int pass = 0; pass < 2; ++pass) {
    for (size_t k = 0; k < n; ++k) {
      for (size_t i = 0; i < k; ++i) {
        const double b = (*feedback)[k * n + i];
        for (size_t c = 0; c < n; ++c) m[k * n + c] -= b * m[i * n + c];
      }
    }
    for (size_t i = 0; i < n; ++i) {
      for (size_t j = 0; j < i; ++j) std::swap(m[i * n + j], m[j * n + i]);
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) {
      if (i / block == j / block) continue;
      EXPECT_NEAR(m[i * n + j], 0, 2e-3) << i << " " << j;
    }
  }
}

}  // namespace
}  // namespace nwc
