#include "format/freq_table.h"

#include <algorithm>
#include <cassert>
#include <numeric>
#include <utility>

#include "format/alias_layout.h"

namespace nwc {
namespace {

// The layout of spec/codec.md section 3 before it is packed.
struct AliasLayout {
  std::vector<uint16_t> remaining, queue, threshold, alias, first;  // one a bucket

  AliasArrays arrays() {
    return {remaining.data(), queue.data(), threshold.data(), alias.data(), first.data()};
  }
};

AliasLayout BuildLayout(std::span<const uint16_t> frequencies, int bucket_bits) {
  const size_t buckets = size_t{1} << bucket_bits;
  assert(frequencies.size() <= buckets);
  assert(std::accumulate(frequencies.begin(), frequencies.end(), 0u) == kProbabilityScale);
  AliasLayout layout;
  layout.remaining.assign(frequencies.begin(), frequencies.end());
  for (auto* array :
       {&layout.remaining, &layout.queue, &layout.threshold, &layout.alias, &layout.first}) {
    array->resize(buckets);
  }
  LayOutAliases(bucket_bits, layout.arrays());
  return layout;
}

// `fields` gives the 8-bit fields of a bucket's two words, by its number and its alias.
template <typename Fields>
void PackBuckets(std::span<const uint16_t> frequencies, int bucket_bits, const Fields& fields,
                 std::span<AliasBucket> out) {
  AliasLayout layout = BuildLayout(frequencies, bucket_bits);
  const auto frequency = [&](uint32_t symbol) -> uint32_t {
    return symbol < frequencies.size() ? frequencies[symbol] : 0;
  };
  for (uint32_t b = 0; b < out.size(); ++b) {
    const uint32_t alias = layout.alias[b];
    const auto [primary_field, alias_field] = fields(b, alias);
    out[b] = PackAliasBucket(layout.arrays(), bucket_bits, b, frequency(b), frequency(alias),
                             primary_field, alias_field);
  }
}

}  // namespace

std::vector<uint16_t> StreamSymbolFrequencies(const CodecTables& tables, int t, int q,
                                              int bucket_bits) {
  const int half = (1 << (bucket_bits - 1)) - 1;
  std::vector<uint16_t> frequencies;
  frequencies.reserve(static_cast<size_t>(2 * half + 1));
  for (int k = -half; k <= half; ++k) {
    frequencies.push_back(static_cast<uint16_t>(tables.frequency(t, q, k)));
  }
  return frequencies;
}

int CodecTables::BucketBits(int t_low, int t_high) const {
  int largest = 0;
  for (int t = t_low; t <= t_high; ++t) {
    for (int q = 0; q < kQuantizerCount; ++q) largest = std::max(largest, alphabet(t, q));
  }
  int bits = kMinBucketBits;
  while (largest > (1 << (bits - 1)) - 1) ++bits;
  return bits;
}

Status CodecTables::Validate() const {
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const auto& f = frequencies[i];
    uint32_t sum = 0;
    bool in_range = f.size() >= 2 && f.size() <= kMaxIndexMagnitude + 1;
    for (size_t k = 0; k < f.size(); ++k) {
      in_range = in_range && f[k] >= 1 && f[k] < kProbabilityScale;
      sum += k == 0 ? f[k] : 2u * f[k];
    }
    if (!in_range || sum != kProbabilityScale) {
      return Status::Corrupt(18, "entropy table " + std::to_string(i) + " is malformed");
    }
  }
  return {};
}

void BuildAliasTable(std::span<const uint16_t> frequencies, int bucket_bits, int symbol_offset,
                     std::span<AliasBucket> out) {
  const auto stored = [symbol_offset](uint32_t symbol) {
    return static_cast<uint8_t>(static_cast<int>(symbol) - symbol_offset);
  };
  const auto fields = [&](uint32_t b, uint32_t alias) {
    return std::pair(stored(b), stored(alias));
  };
  PackBuckets(frequencies, bucket_bits, fields, out);
}

void BuildWideAliasTable(std::span<const uint16_t> frequencies, int bucket_bits,
                         std::span<AliasBucket> out) {
  const auto fields = [](uint32_t, uint32_t alias) {
    return std::pair(static_cast<uint8_t>(alias >> 8), static_cast<uint8_t>(alias & 0xFF));
  };
  PackBuckets(frequencies, bucket_bits, fields, out);
}

std::vector<AliasBucket> BuildStreamAliasTables(const CodecTables& tables, int bucket_bits) {
  const size_t buckets = size_t{1} << bucket_bits;
  const int half = (1 << (bucket_bits - 1)) - 1;
  std::vector<AliasBucket> all(kTableCount * kQuantizerCount * buckets);
  for (int t = 0; t < kTableCount; ++t) {
    for (int q = 0; q < kQuantizerCount; ++q) {
      const auto at = static_cast<size_t>(2 * t + q) * buckets;
      const std::span<AliasBucket> out(&all[at], buckets);
      if (tables.alphabet(t, q) > half) {  // never used with this bucket count (R24)
        std::fill(out.begin(), out.end(), AliasBucket{0, 0});
        continue;
      }
      BuildAliasTable(StreamSymbolFrequencies(tables, t, q, bucket_bits), bucket_bits, half, out);
    }
  }
  return all;
}

EncodeTable BuildEncodeTable(std::span<const uint16_t> frequencies, int bucket_bits) {
  const AliasLayout layout = BuildLayout(frequencies, bucket_bits);
  EncodeTable table;
  table.symbols.resize(frequencies.size());
  table.slots.resize(kProbabilityScale);
  uint32_t first = 0;
  for (size_t s = 0; s < frequencies.size(); ++s) {
    table.symbols[s] = {frequencies[s], layout.threshold[s], first};
    first += frequencies[s];
  }
  for (uint32_t slot = 0; slot < kProbabilityScale; ++slot) {
    const uint32_t b = slot & ((1u << bucket_bits) - 1);
    const uint32_t low = slot >> bucket_bits;
    const bool primary = low < layout.threshold[b];
    const auto& symbol = table.symbols[primary ? b : layout.alias[b]];
    // rank + negative_ranks counts from 0: the primary slots first.
    const uint32_t from_zero =
        primary ? low : symbol.negative_ranks + (low - layout.threshold[b]) + layout.first[b];
    table.slots[symbol.first + from_zero] = static_cast<uint16_t>(slot);
  }
  return table;
}

}  // namespace nwc
