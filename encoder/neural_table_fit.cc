#include "encoder/neural_table_fit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "format/freq_table.h"
#include "format/normalize.h"

namespace nwc {
namespace {

constexpr int kEscapeBits = 16;
constexpr int kMaxSymbols = 1024;  // with the escape
// Values rarer than this share of one slot are tried as escapes.
constexpr std::array<double, 6> kCutoffs = {0.0, 0.03, 0.1, 0.3, 1.0, 3.0};

double TotalBits(const NeuralTable& table, const LatentCounts& counts) {
  double bits = 0;
  for (const auto& [value, count] : counts) {
    bits += static_cast<double>(count) * NeuralCostBits(table, value);
  }
  return bits;
}

int Median(const LatentCounts& counts, uint64_t total) {
  uint64_t seen = 0;
  for (const auto& [value, count] : counts) {
    seen += count;
    if (2 * seen >= total) return value;
  }
  return 0;
}

// The table whose own symbols are low … high (inclusive).
NeuralTable TableOfRange(const LatentCounts& counts, int low, int high) {
  std::vector<uint64_t> weights(static_cast<size_t>(high - low) + 2, 0);
  for (const auto& [value, count] : counts) {
    const bool inside = value >= low && value <= high;
    weights[inside ? static_cast<size_t>(value - low) : weights.size() - 1] += count;
  }
  for (uint64_t& w : weights) w = std::max<uint64_t>(w, 1);
  NeuralTable table;
  table.lowest = static_cast<int16_t>(low);
  table.frequencies = NormalizeFrequencies(weights, 1);
  return table;
}

}  // namespace

NeuralTable BuildNeuralTable(const LatentCounts& counts) {
  uint64_t total = 0;
  for (const auto& [value, count] : counts) total += count;
  const int median = Median(counts, total);
  NeuralTable best;
  double best_bits = std::numeric_limits<double>::infinity();
  for (const double cutoff : kCutoffs) {
    const double least = cutoff * static_cast<double>(total) / kProbabilityScale;
    const auto frequent = [&](const auto& entry) {
      return static_cast<double>(entry.second) >= least;
    };
    const auto first = std::find_if(counts.begin(), counts.end(), frequent);
    const auto last = std::find_if(counts.rbegin(), counts.rend(), frequent);
    if (first == counts.end()) continue;
    const int low = std::max(first->first, median - kMaxSymbols / 2 + 1);
    const int high = std::min(last->first, median + kMaxSymbols / 2 - 1);
    NeuralTable table = TableOfRange(counts, low, high);
    const double bits = TotalBits(table, counts);
    if (bits < best_bits) {
      best_bits = bits;
      best = std::move(table);
    }
  }
  return best;
}

double NeuralCostBits(const NeuralTable& table, int value) {
  const int symbol = value - table.lowest;
  const int escape = static_cast<int>(table.frequencies.size()) - 1;
  const bool own = symbol >= 0 && symbol < escape;
  const double frequency = table.frequencies[static_cast<size_t>(own ? symbol : escape)];
  return kProbabilityBits - std::log2(frequency) + (own ? 0 : kEscapeBits);
}

}  // namespace nwc
