#include "encoder/shaped_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "encoder/ldl.h"
#include "format/default_codec.h"
#include "format/synthesis.h"
#include "tests/encoder/memory_statistics.h"

namespace nwc {
namespace {

constexpr float kFactor = 0.01f / kOffsetUnit;  // a step of 0.01

class Shaped : public testing::Test {
 protected:
  // A column of Gaussian weights of some steps' standard deviation, and its decoded values.
  void Make(size_t rows, uint32_t seed) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0, 0.04f);
    targets_.resize(rows);
    for (float& t : targets_) t = normal(rng);
    above_.assign(rows, 0);
    steps_.assign(rows, 1);
    tables_.assign(rows, 32);
    found_.resize(rows);
    wanted_.resize(rows);
  }

  double Search(std::span<const float> upper) {
    ShapedSearch search(costs_, options_, upper, targets_.size());
    return search.Search(Column(), found_, wanted_);
  }

  [[nodiscard]] ShapedColumn Column() const {
    return {targets_, above_, targets_, steps_, tables_, kFactor, DType::kF32};
  }

  [[nodiscard]] double Error(size_t j) const {
    const int level =
        ReconstructionLevel(found_[j].k, found_[j].quantizer, options_.offset1, options_.offset2);
    return static_cast<double>(targets_[j]) - Reconstruct(level, kFactor, steps_[j]);
  }

  [[nodiscard]] double Quadratic(const std::vector<float>& moment) const {
    const size_t n = targets_.size();
    double sum = 0;
    for (size_t a = 0; a < n; ++a) {
      for (size_t b = 0; b < n; ++b) {
        sum += Error(a) * static_cast<double>(moment[a * n + b]) * Error(b);
      }
    }
    return sum;
  }

  IndexCosts costs_{DefaultCodec().tables};
  TrellisSearchOptions options_;
  std::vector<float> targets_, above_, steps_, wanted_;
  std::vector<uint8_t> tables_;
  std::vector<SearchedIndex> found_;
};

TEST_F(Shaped, WithoutFeedbackIsTheTrellisSearch) {
  for (const TrellisId trellis :
       {TrellisId::kScalar, TrellisId::kFourStates, TrellisId::kEightStates}) {
    options_.trellis = trellis;
    Make(300, 1);
    const double bits = Search(std::vector<float>(300 * 300, 0));
    std::vector<float> scaled;
    for (const float t : targets_) scaled.push_back(t / (kFactor * kOffsetUnit));
    std::vector<SearchedIndex> plain(300);
    EXPECT_NEAR(TrellisSearch(costs_, options_).Search(scaled, tables_, plain), bits, 1e-3);
    for (size_t j = 0; j < plain.size(); ++j) EXPECT_EQ(found_[j].k, plain[j].k) << j;
  }
}

TEST_F(Shaped, WhatRowsWereSearchedForIsWhatTheErrorsAboveAdd) {
  WorkerPool pool(1);
  const auto factors = FactorUdu(CorrelatedMoment(200, 3), 200, 0.01, &pool);
  ASSERT_TRUE(factors.ok());
  Make(200, 2);
  for (size_t j = 0; j < above_.size(); ++j) above_[j] = 0.001f * static_cast<float>(j % 5);
  Search(factors->upper);
  size_t differ = 0;
  for (size_t j = 0; j < 200; ++j) {
    double fed = static_cast<double>(targets_[j]) + static_cast<double>(above_[j]);
    for (size_t k = 0; k < j; ++k) {
      fed += static_cast<double>(factors->upper[k * 200 + j]) * Error(k);
    }
    if (std::fabs(fed / 0.01 - static_cast<double>(wanted_[j])) > 0.01) ++differ;
  }
  EXPECT_LT(differ, 10);  // survivors that met only behind the window
}

TEST_F(Shaped, LowersTheQuadraticFormAtTheSameStep) {
  WorkerPool pool(1);
  const std::vector<float> moment = CorrelatedMoment(120, 4);
  // Equal diagonal elements, so that equal steps suit the search without feedback.
  std::vector<float> even = moment;
  for (size_t a = 0; a < 120; ++a) {
    for (size_t b = 0; b < 120; ++b) {
      even[a * 120 + b] /= std::sqrt(moment[a * 121] * moment[b * 121]);
    }
  }
  const auto factors = FactorUdu(even, 120, 0.01, &pool);
  ASSERT_TRUE(factors.ok());
  double with = 0, without = 0;
  for (uint32_t seed = 0; seed < 8; ++seed) {
    Make(120, seed);
    Search(std::vector<float>(120 * 120, 0));
    without += Quadratic(even);
    Search(factors->upper);
    with += Quadratic(even);
  }
  EXPECT_LT(with, 0.6 * without);
}

TEST_F(Shaped, EscapedRowsFeedOnlyWhatTheirTargetsDifferBy) {
  Make(40, 5);
  targets_[3] = 1e5f;
  std::vector<float> upper(40 * 40, 0);
  for (size_t j = 4; j < 40; ++j) upper[3 * 40 + j] = 1;
  Search(upper);
  EXPECT_TRUE(found_[3].escaped);
  for (size_t j = 4; j < 40; ++j) {
    EXPECT_FALSE(found_[j].escaped) << j;
    EXPECT_NEAR(wanted_[j], targets_[j] / 0.01f, 1e-2f) << j;
  }
}

}  // namespace
}  // namespace nwc
