// The table of an `exact` chunk as a warp builds it is the host's, bucket for bucket.
#include "cuda/exact_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cuda/emulated_warp.h"

namespace nwc {
namespace {

using Frequencies = std::array<uint16_t, kExactTableSize>;

void IsTheHosts(const Frequencies& frequencies) {
  std::array<AliasBucket, kExactTableSize> expected;
  BuildAliasTable(frequencies, kExactTableBits, 0, expected);
  const auto table = std::make_unique<ExactTable>();
  std::memset(static_cast<void*>(table.get()), 0xEE, sizeof(*table));
  std::copy(frequencies.begin(), frequencies.end(), table->frequency);
  EmulatedWarp<ExactLane> warp;
  ASSERT_TRUE(BuildExactTable(warp, table.get()));
  for (size_t b = 0; b < kExactTableSize; ++b) {
    ASSERT_EQ(table->bucket[b].primary, expected[b].primary) << b;
    ASSERT_EQ(table->bucket[b].alias, expected[b].alias) << b;
  }
}

// `symbols` of them have a share each.
Frequencies RandomFrequencies(uint32_t symbols, double unevenness, std::mt19937* rng) {
  std::vector<uint32_t> numbers(kExactTableSize);
  for (uint32_t i = 0; i < kExactTableSize; ++i) numbers[i] = i;
  std::shuffle(numbers.begin(), numbers.end(), *rng);
  std::gamma_distribution<double> share(unevenness, 1);
  std::vector<double> shares(symbols);
  double sum = 0;
  for (double& s : shares) sum += s = share(*rng) + 1e-9;
  Frequencies frequencies{};
  uint32_t left = kProbabilityScale;
  for (uint32_t i = 0; i < symbols; ++i) {
    const uint32_t others = symbols - i - 1;
    const auto wanted = static_cast<uint32_t>(shares[i] / sum * kProbabilityScale);
    const uint32_t own = others == 0 ? left : std::clamp<uint32_t>(wanted, 1, left - others);
    frequencies[numbers[i]] = static_cast<uint16_t>(own);
    left -= own;
  }
  return frequencies;
}

TEST(ExactTable, RandomOnesAreTheHosts) {
  std::mt19937 rng(1);
  for (int i = 0; i < 3000; ++i) {
    const uint32_t symbols = 2 + static_cast<uint32_t>(rng() % (kExactTableSize - 1));
    const double unevenness = std::array{0.02, 0.2, 1.0, 30.0}[rng() % 4];
    Frequencies frequencies = RandomFrequencies(symbols, unevenness, &rng);
    if (*std::max_element(frequencies.begin(), frequencies.end()) < kProbabilityScale) {
      IsTheHosts(frequencies);
    }
    if (HasFatalFailure()) FAIL() << i;
  }
}

TEST(ExactTable, ExtremesAreTheHosts) {
  Frequencies even;
  even.fill(kExactCapacity);
  IsTheHosts(even);
  Frequencies one{};  // gives to all
  one[200] = 4095;
  one[3] = 1;
  IsTheHosts(one);
  Frequencies chain;  // every donor is exhausted by one
  for (uint32_t s = 0; s < kExactTableSize; ++s) chain[s] = s % 2 == 0 ? 15 : 17;
  IsTheHosts(chain);
  for (uint32_t s = 0; s < kExactTableSize; ++s) chain[s] = s < 128 ? 31 : 1;
  IsTheHosts(chain);
  chain[0] = chain[1] = 31;
  std::swap(chain[255], chain[0]);
  IsTheHosts(chain);
}

TEST(ExactTable, AWrongSumIsNoTable) {
  const auto table = std::make_unique<ExactTable>();
  for (const uint32_t difference : {UINT32_MAX, 1u}) {  // one less, one more
    for (auto& f : table->frequency) f = kExactCapacity;
    table->frequency[77] = static_cast<uint16_t>(kExactCapacity + difference);
    EmulatedWarp<ExactLane> warp;
    EXPECT_FALSE(BuildExactTable(warp, table.get()));
  }
}

}  // namespace
}  // namespace nwc
