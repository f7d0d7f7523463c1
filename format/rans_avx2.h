// rANS look-up and renormalisation of eight lanes in AVX2; include only where AVX2 is switched on.
// Files of different instruction sets include it: nothing here may become one function for both.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstring>

#include "format/padded_words.h"
#include "format/rans.h"

namespace nwc::avx2 {

static inline __m256i LoadStates(const LaneStates& states, int v) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(&states[static_cast<size_t>(8 * v)]));
}
static inline void StoreStates(__m256i x, int v, LaneStates* states) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(&(*states)[static_cast<size_t>(8 * v)]), x);
}

// Control bytes of vpshufb by mask of reading lanes: word number (how many lanes below read) to the
// low half of each reading lane, zero elsewhere.
struct ExpandTable {
  alignas(32) std::array<std::array<uint8_t, 32>, 256> control;
};
constexpr ExpandTable MakeExpandTable() {
  ExpandTable table{};
  for (size_t mask = 0; mask < 256; ++mask) {
    uint8_t word = 0;
    for (size_t lane = 0; lane < 8; ++lane) {
      auto* bytes = &table.control[mask][4 * lane];
      for (size_t i = 0; i < 4; ++i) bytes[i] = 0x80;
      if ((mask >> lane & 1) == 0) continue;
      bytes[0] = static_cast<uint8_t>(2 * word);
      bytes[1] = static_cast<uint8_t>(2 * word + 1);
      ++word;
    }
  }
  return table;
}
inline constexpr ExpandTable kExpand = MakeExpandTable();

// Reads a word into every lane below 2^16, in lane order. 16 bytes at *words are readable.
static inline __m256i Renormalize(__m256i x, const uint8_t** words) {
  const __m256i low = _mm256_cmpeq_epi32(_mm256_srli_epi32(x, 16), _mm256_setzero_si256());
  const auto mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_castsi256_ps(low)));
  const __m256i source =
      _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(*words)));
  const __m256i control =
      _mm256_load_si256(reinterpret_cast<const __m256i*>(kExpand.control[mask].data()));
  *words += 2 * static_cast<unsigned>(__builtin_popcount(mask));
  const __m256i shift = _mm256_and_si256(low, _mm256_set1_epi32(16));
  return _mm256_or_si256(_mm256_sllv_epi32(x, shift), _mm256_shuffle_epi8(source, control));
}

// Eight 64-bit entries by scalar loads, which beat gathers, split into their halves.
static inline void LoadBuckets(const AliasBucket* tables, __m256i at, __m256i* primary,
                               __m256i* alias) {
  const auto* p = reinterpret_cast<const double*>(tables);
  const __m128i low = _mm256_castsi256_si128(at), high = _mm256_extracti128_si256(at, 1);
  const auto pair = [p](__m128i index, int half) {
    const auto two =
        static_cast<uint64_t>(half == 0 ? _mm_cvtsi128_si64(index) : _mm_extract_epi64(index, 1));
    const __m128d first = _mm_load_sd(p + static_cast<uint32_t>(two));
    return _mm_loadh_pd(first, p + (two >> 32));
  };
  // Lanes 0 1 | 4 5 and 2 3 | 6 7, so that one in-lane shuffle each brings them in order.
  const __m256 a = _mm256_castpd_ps(_mm256_set_m128d(pair(high, 0), pair(low, 0)));
  const __m256 b = _mm256_castpd_ps(_mm256_set_m128d(pair(high, 1), pair(low, 1)));
  *primary = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88));
  *alias = _mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD));
}

// Tables of 2^kBits buckets.
template <int kBits>
struct RansVector {
  static constexpr int kCapacity = 1 << (kProbabilityBits - kBits);

  // Looks up eight lanes: `base` is each lane's table, in entries from `tables`. Returns the chosen
  // 32-bit words (symbol at bits 12-19) and sets *next to x'; lanes that are not active keep x.
  [[gnu::always_inline]] static __m256i Step(const AliasBucket* tables, __m256i base, __m256i x,
                                             __m256i* next, __m256i active, bool partial) {
    const __m256i bucket = _mm256_and_si256(x, _mm256_set1_epi32((1 << kBits) - 1));
    const __m256i at = _mm256_add_epi32(base, bucket);
    __m256i primary, alias;
    LoadBuckets(tables, at, &primary, &alias);
    // low - cap in one operation: low < cap = 2^n, so setting all bits above subtracts cap.
    const __m256i biased =
        _mm256_or_si256(_mm256_srli_epi32(x, kBits), _mm256_set1_epi32(-kCapacity));
    const __m256i sign = _mm256_add_epi32(biased, _mm256_srli_epi32(primary, 20));
    const __m256i word = _mm256_castps_si256(_mm256_blendv_ps(
        _mm256_castsi256_ps(alias), _mm256_castsi256_ps(primary), _mm256_castsi256_ps(sign)));
    const __m256i frequency = _mm256_and_si256(word, _mm256_set1_epi32(0xFFF));
    const __m256i rank = _mm256_add_epi32(biased, _mm256_srli_epi32(word, 20));
    const __m256i stepped = _mm256_add_epi32(
        _mm256_mullo_epi32(frequency, _mm256_srli_epi32(x, kProbabilityBits)), rank);
    *next = partial ? _mm256_blendv_epi8(x, stepped, active) : stepped;
    return word;
  }
};

}  // namespace nwc::avx2
