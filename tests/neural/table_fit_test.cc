#include "encoder/neural_table_fit.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

namespace nwc {
namespace {

LatentCounts GaussianCounts(double deviation, double samples) {
  LatentCounts counts;
  for (int v = -20000; v <= 20000; ++v) {
    const double z = v / deviation;
    const double n = samples * std::exp(-z * z / 2) / (deviation * std::sqrt(2 * M_PI));
    if (n >= 0.5) counts[v] = static_cast<uint64_t>(std::llround(n));
  }
  return counts;
}

// Bits a value above the entropy of the counts.
double Overhead(const LatentCounts& counts) {
  const NeuralTable table = BuildNeuralTable(counts);
  double total = 0, bits = 0, entropy = 0;
  for (const auto& [value, n] : counts) total += static_cast<double>(n);
  for (const auto& [value, n] : counts) {
    bits += static_cast<double>(n) * NeuralCostBits(table, value);
    entropy -= static_cast<double>(n) * std::log2(static_cast<double>(n) / total);
  }
  return (bits - entropy) / total;
}

void ExpectWellFormed(const NeuralTable& table) {
  EXPECT_GE(table.frequencies.size(), kMinNeuralSymbols);
  EXPECT_LE(table.frequencies.size(), kMaxNeuralSymbols);
  EXPECT_EQ(std::accumulate(table.frequencies.begin(), table.frequencies.end(), 0), 4096);
  EXPECT_EQ(std::count(table.frequencies.begin(), table.frequencies.end(), 0), 0);
}

TEST(BuildNeuralTable, CostsLittleAboveTheEntropy) {
  EXPECT_LT(Overhead(GaussianCounts(2, 1e6)), 0.01);
  EXPECT_LT(Overhead(GaussianCounts(6, 1e6)), 0.01);
  EXPECT_LT(Overhead(GaussianCounts(30, 1e6)), 0.03);
}

TEST(BuildNeuralTable, CutsWhatNoTableHolds) {
  LatentCounts counts = GaussianCounts(400, 1e6);
  counts[32767] = 1;
  const NeuralTable table = BuildNeuralTable(counts);
  ExpectWellFormed(table);
  EXPECT_GE(NeuralCostBits(table, 32767), 16);
}

TEST(BuildNeuralTable, TakesASingleValue) {
  const NeuralTable table = BuildNeuralTable({{-7, 1000}});
  ExpectWellFormed(table);
  EXPECT_EQ(table.lowest, -7);
  EXPECT_LT(NeuralCostBits(table, -7), 0.01);
}

}  // namespace
}  // namespace nwc
