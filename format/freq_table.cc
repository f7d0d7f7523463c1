#include "format/freq_table.h"

#include <algorithm>
#include <cassert>
#include <numeric>

namespace nwc {
namespace {

// The layout of spec/codec.md section 3 before it is packed.
struct AliasLayout {
  std::vector<uint32_t> threshold, alias, first;  // one a bucket
};

AliasLayout BuildLayout(std::span<const uint16_t> frequencies, int bucket_bits) {
  const uint32_t buckets = 1u << bucket_bits;
  const uint32_t capacity = kProbabilityScale >> bucket_bits;
  assert(frequencies.size() <= buckets);
  std::vector<uint32_t> remaining(buckets, 0);
  std::copy(frequencies.begin(), frequencies.end(), remaining.begin());
  assert(std::accumulate(remaining.begin(), remaining.end(), 0u) == kProbabilityScale);

  std::vector<uint32_t> small, large;  // queues: read from an index on
  for (uint32_t s = 0; s < buckets; ++s) (remaining[s] < capacity ? small : large).push_back(s);
  AliasLayout layout;
  layout.threshold.assign(buckets, capacity);
  layout.alias.resize(buckets);
  std::iota(layout.alias.begin(), layout.alias.end(), 0u);
  layout.first.assign(buckets, 0);
  size_t giver = 0;
  for (size_t front = 0; front < small.size(); ++front) {
    const uint32_t s = small[front];
    const uint32_t donor = large[giver];
    layout.threshold[s] = remaining[s];
    layout.alias[s] = donor;
    remaining[donor] -= capacity - remaining[s];
    if (remaining[donor] < capacity) {
      small.push_back(donor);
      ++giver;
    }
  }
  std::vector<uint32_t> given(buckets, 0);
  for (uint32_t b = 0; b < buckets; ++b) {
    layout.first[b] = given[layout.alias[b]];
    given[layout.alias[b]] += capacity - layout.threshold[b];
  }
  return layout;
}

// Bucket b with the given 8-bit fields. The rank is low - thr (+ first); a look-up adds low - cap,
// so both words carry + cap. A slot of the alias has low ≥ thr, hence first + cap - thr ≤ f ≤ 4095
// and 12 bits hold it.
AliasBucket PackBucket(const AliasLayout& layout, std::span<const uint16_t> frequencies,
                       int bucket_bits, uint32_t b, uint8_t primary_field, uint8_t alias_field) {
  const auto frequency = [&](uint32_t symbol) -> uint32_t {
    return symbol < frequencies.size() ? frequencies[symbol] : 0;
  };
  const uint32_t bias = (kProbabilityScale >> bucket_bits) - layout.threshold[b];
  const uint32_t alias_bias = (bias + layout.first[b]) & 0xFFF;
  return {bias << 20 | uint32_t{primary_field} << 12 | frequency(b),
          alias_bias << 20 | uint32_t{alias_field} << 12 | frequency(layout.alias[b])};
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
  const AliasLayout layout = BuildLayout(frequencies, bucket_bits);
  const auto stored = [symbol_offset](uint32_t symbol) {
    return static_cast<uint8_t>(static_cast<int>(symbol) - symbol_offset);
  };
  for (uint32_t b = 0; b < out.size(); ++b) {
    out[b] = PackBucket(layout, frequencies, bucket_bits, b, stored(b), stored(layout.alias[b]));
  }
}

void BuildWideAliasTable(std::span<const uint16_t> frequencies, int bucket_bits,
                         std::span<AliasBucket> out) {
  const AliasLayout layout = BuildLayout(frequencies, bucket_bits);
  for (uint32_t b = 0; b < out.size(); ++b) {
    const uint32_t alias = layout.alias[b];
    out[b] = PackBucket(layout, frequencies, bucket_bits, b, static_cast<uint8_t>(alias >> 8),
                        static_cast<uint8_t>(alias & 0xFF));
  }
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
