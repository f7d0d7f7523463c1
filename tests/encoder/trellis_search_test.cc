#include "encoder/trellis_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "format/default_codec.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

class Search : public testing::Test {
 protected:
  // Cost of a path: squared error + λ·bits, as the search defines it.
  double Cost(const std::vector<float>& x, const std::vector<uint8_t>& t,
              const std::vector<int>& k) {
    const Trellis& trellis = kTrellises[static_cast<size_t>(options_.trellis)];
    double cost = 0;
    int state = 0;
    for (size_t j = 0; j < x.size(); ++j) {
      const int q = trellis.Quantizer(state);
      const double v = ReconstructionLevel(k[j], q, options_.offset1, options_.offset2) / 64.0;
      cost += (x[j] - v) * (x[j] - v) + options_.lambda * costs_.of(t[j], q)[k[j]];
      state = trellis.Next(state, k[j]);
    }
    return cost;
  }

  std::vector<int> Found(const std::vector<float>& x, const std::vector<uint8_t>& t) {
    std::vector<SearchedIndex> out(x.size());
    TrellisSearch(costs_, options_).Search(x, t, out);
    std::vector<int> k;
    for (const SearchedIndex& f : out) k.push_back(f.k);
    return k;
  }

  std::vector<float> Gaussian(size_t n, float sigma, uint32_t seed) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> d(0, sigma);
    std::vector<float> x(n);
    for (auto& v : x) v = d(rng);
    return x;
  }

  IndexCosts costs_{DefaultCodec().tables};
  TrellisSearchOptions options_;
};

TEST_F(Search, EqualsBruteForceOnShortVectors) {
  for (const TrellisId trellis :
       {TrellisId::kScalar, TrellisId::kFourStates, TrellisId::kEightStates}) {
    options_.trellis = trellis;
    for (uint32_t seed = 0; seed < 20; ++seed) {
      const auto x = Gaussian(5, 2.0f, seed);
      const std::vector<uint8_t> t(x.size(), 24);
      double least = 1e30;
      std::vector<int> k(x.size());
      const std::function<void(size_t)> all = [&](size_t j) {
        if (j == x.size()) {
          least = std::min(least, Cost(x, t, k));
          return;
        }
        for (k[j] = -4; k[j] <= 4; ++k[j]) all(j + 1);
        k[j] = 0;
      };
      all(0);
      EXPECT_NEAR(Cost(x, t, Found(x, t)), least, 1e-4) << "seed " << seed;
    }
  }
}

TEST_F(Search, BeatsGreedy) {
  const auto x = Gaussian(2000, 7.0f, 3);
  const std::vector<uint8_t> t(x.size(), 38);
  const Trellis& trellis = kTrellises[2];
  std::vector<int> greedy;
  int state = 0;
  for (const float v : x) {
    const int q = trellis.Quantizer(state);
    const int k = static_cast<int>(std::lround(q == 0 ? v / 2 : (v + std::copysign(1.0f, v)) / 2));
    greedy.push_back(k);
    state = trellis.Next(state, k);
  }
  EXPECT_LT(Cost(x, t, Found(x, t)), 0.97 * Cost(x, t, greedy));
}

TEST_F(Search, EscapesWhatTheAlphabetCannotReach) {
  auto x = Gaussian(64, 3.0f, 4);
  x[10] = 1e6f;
  x[20] = -3e8f;
  const std::vector<uint8_t> t(x.size(), 28);
  std::vector<SearchedIndex> out(x.size());
  TrellisSearch(costs_, options_).Search(x, t, out);
  for (size_t j = 0; j < x.size(); ++j) EXPECT_EQ(out[j].escaped, j == 10 || j == 20) << j;
}

TEST_F(Search, ReportsTheBitsOfItsPath) {
  const auto x = Gaussian(500, 5.0f, 5);
  const std::vector<uint8_t> t(x.size(), 35);
  std::vector<SearchedIndex> out(x.size());
  const double bits = TrellisSearch(costs_, options_).Search(x, t, out);
  double sum = 0;
  for (size_t j = 0; j < x.size(); ++j) sum += costs_.of(35, out[j].quantizer)[out[j].k];
  EXPECT_NEAR(bits, sum, 1e-3);
}

}  // namespace
}  // namespace nwc
