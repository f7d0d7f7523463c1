#include "encoder/table_fit.h"

#include <algorithm>
#include <cmath>

#include "format/normalize.h"

namespace nwc {
namespace {

constexpr double kEscapeBits = 48;
constexpr double kTrimTolerance = 0.0005;  // bits a weight given up for a smaller alphabet
constexpr double kPriorCounts = 4096;      // what the prior weighs, in weights

}  // namespace

std::vector<uint16_t> FitTable(const std::vector<uint64_t>& counts) {
  std::vector<uint64_t> kept(counts.begin(), counts.end());
  while (kept.size() > 2 && kept.back() == 0) kept.pop_back();
  uint64_t total = 0;
  for (const uint64_t c : kept) total += c;
  std::vector<uint16_t> best;
  double best_bits = 0;
  uint64_t escaped = 0;
  // From the largest alphabet down; a smaller one must not cost more than the tolerance.
  while (kept.size() >= 2) {
    std::vector<uint64_t> positive = kept;
    for (uint64_t& c : positive) c = std::max<uint64_t>(c, 1);
    const auto f = NormalizeFrequencies(positive, 2);
    double bits = static_cast<double>(escaped) * (kEscapeBits + kProbabilityBits - std::log2(f[0]));
    for (size_t k = 0; k < kept.size(); ++k) {
      bits += static_cast<double>(kept[k]) * (kProbabilityBits - std::log2(f[k]));
    }
    if (best.empty() || bits < best_bits + kTrimTolerance * static_cast<double>(total)) best = f;
    if (best_bits == 0 || bits < best_bits) best_bits = bits;
    if (bits > best_bits + 10 * kTrimTolerance * static_cast<double>(total)) break;
    escaped += kept.back();
    kept.pop_back();
  }
  return best;
}

CodecTables RefitTables(const CodecTables& prior, const IndexCounts& counts) {
  CodecTables tables = prior;
  for (size_t table = 0; table < counts.size(); ++table) {
    const auto& counted = counts[table];
    if (std::all_of(counted.begin(), counted.end(), [](uint64_t c) { return c == 0; })) continue;
    std::vector<uint64_t> sum(counted.begin(), counted.end());
    const std::vector<uint16_t>& old = prior.frequencies[table];
    for (size_t k = 0; k < old.size(); ++k) {
      const double share = static_cast<double>(old[k]) * (k == 0 ? 1 : 2) / kProbabilityScale;
      sum[k] += static_cast<uint64_t>(std::lround(kPriorCounts * share));
    }
    tables.frequencies[table] = FitTable(sum);
  }
  return tables;
}

}  // namespace nwc
