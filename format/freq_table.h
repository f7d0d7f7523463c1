// Entropy tables: symmetric frequencies for every (t, q), and the alias layout rANS decodes with
// (spec/codec.md section 3). Immutable once built; safe to share between threads.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "format/status.h"

namespace nwc {

inline constexpr int kProbabilityBits = 12;
inline constexpr uint32_t kProbabilityScale = 1u << kProbabilityBits;
inline constexpr int kTableCount = 64;     // values of t
inline constexpr int kQuantizerCount = 2;  // values of q
inline constexpr int kTableUnity = 16;     // t of σ/δ = 1; eight tables an octave
inline constexpr int kMaxIndexMagnitude = 127;
inline constexpr int kMinBucketBits = 6;
inline constexpr int kMaxBucketBits = 8;

// frequencies[2t+q] holds F_0 … F_K of table (t, q).
struct CodecTables {
  std::array<std::vector<uint16_t>, kTableCount * kQuantizerCount> frequencies;

  [[nodiscard]] int alphabet(int t, int q) const {
    return static_cast<int>(frequencies[static_cast<size_t>(2 * t + q)].size()) - 1;
  }
  // Frequency of index k, 0 beyond the alphabet.
  [[nodiscard]] uint32_t frequency(int t, int q, int k) const {
    const auto& f = frequencies[static_cast<size_t>(2 * t + q)];
    const auto magnitude = static_cast<size_t>(k < 0 ? -k : k);
    return magnitude < f.size() ? f[magnitude] : 0;
  }
  // Smallest bucket bits whose alphabet holds every table of t_low … t_high (inclusive).
  [[nodiscard]] int BucketBits(int t_low, int t_high) const;
  // R18.
  [[nodiscard]] Status Validate() const;
};

// One bucket of an alias table, as two 32-bit words. From the top: 12 bits rank bias, 8 bits
// symbol, 12 bits frequency. With low_biased = low - cap, a look-up takes `primary` when
// low_biased + (primary >> 20) is negative, else `alias`; the rank is low_biased + (word >> 20).
// Aligned so that both come in one load.
struct alignas(8) AliasBucket {
  uint32_t primary;
  uint32_t alias;
};

// `frequencies` of the symbols 0 … (at most 2^bucket_bits of them), each < 4096, summing to 4096.
// Writes 2^bucket_bits buckets. `symbol_offset` is subtracted from the symbol number stored in the
// 8-bit field (two's complement), so that stream tables carry k itself.
void BuildAliasTable(std::span<const uint16_t> frequencies, int bucket_bits, int symbol_offset,
                     std::span<AliasBucket> out);

// The same for up to 1024 symbols, bucket_bits ≤ 10: a bucket's own symbol is its number, and the
// 8-bit fields of `primary` and `alias` hold the high and the low bits of the alias.
void BuildWideAliasTable(std::span<const uint16_t> frequencies, int bucket_bits,
                         std::span<AliasBucket> out);

// Frequencies of the symbols of table (t, q) for 2^bucket_bits buckets: k = symbol - (2^(bits-1) -
// 1).
std::vector<uint16_t> StreamSymbolFrequencies(const CodecTables& tables, int t, int q,
                                              int bucket_bits);

// Decoding tables of a codec for one bucket count: table (t, q) begins at (2t+q) << bucket_bits.
std::vector<AliasBucket> BuildStreamAliasTables(const CodecTables& tables, int bucket_bits);

// The encoder's view of one alias table: slot (0 … 4095) of each (symbol, rank).
struct EncodeTable {
  struct Symbol {
    uint32_t frequency = 0;
    uint32_t negative_ranks = 0;  // ranks run from -negative_ranks
    uint32_t first = 0;           // slots[first + negative_ranks + rank]
  };
  std::vector<Symbol> symbols;
  std::vector<uint16_t> slots;  // 4096
};
EncodeTable BuildEncodeTable(std::span<const uint16_t> frequencies, int bucket_bits);

}  // namespace nwc
