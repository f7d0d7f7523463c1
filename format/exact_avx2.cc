// The AVX2 decoder of `exact` chunks: the bits of the scalar one. Whole lines run in vectors, a
// last shorter one in the lanes that exist.
#include <immintrin.h>

#include "format/exact_chunk.h"
#include "format/rans_avx2.h"

namespace nwc {
namespace {

using avx2::RansVector;

// Symbols of the lanes of one vector pair to 16 elements in order: even positions, odd positions.
inline __m256i RotateRight16(__m256i v) {
  return _mm256_or_si256(_mm256_srli_epi16(v, 1), _mm256_slli_epi16(v, 15));
}
inline __m256i RotateRight32(__m256i v) {
  return _mm256_or_si256(_mm256_srli_epi32(v, 1), _mm256_slli_epi32(v, 31));
}

// 16 elements of 16 bits.
inline void Store16Bit(__m256i even, __m256i odd, const uint8_t* low8, uint8_t* out) {
  // Symbols as the high bytes of 16-bit elements in position order.
  const __m256i high = _mm256_or_si256(_mm256_slli_epi32(even, 8), _mm256_slli_epi32(odd, 24));
  const __m256i low = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low8)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), RotateRight16(_mm256_or_si256(high, low)));
}

inline __m256i Load32Bit(__m256i symbol, const uint8_t* low16, const uint8_t* low8) {
  const __m256i a = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(low16)));
  const __m256i b = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(low8)));
  return RotateRight32(
      _mm256_or_si256(_mm256_slli_epi32(symbol, 24), _mm256_or_si256(_mm256_slli_epi32(b, 16), a)));
}

// 16 elements of 32 bits.
inline void Store32Bit(__m256i even, __m256i odd, const uint8_t* low16, const uint8_t* low8,
                       uint8_t* out) {
  const __m256i a = _mm256_unpacklo_epi32(even, odd), b = _mm256_unpackhi_epi32(even, odd);
  const __m256i first = Load32Bit(_mm256_permute2x128_si256(a, b, 0x20), low16, low8);
  const __m256i second = Load32Bit(_mm256_permute2x128_si256(a, b, 0x31), low16 + 16, low8 + 8);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), first);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 32), second);
}

// One line into symbols; lanes that are not active keep their state.
template <bool kPartial>
inline void DecodeLine(const AliasBucket* table, const __m256i active[4], __m256i x[4],
                       const uint8_t** words, __m256i symbol[4]) {
  for (int v = 0; v < 4; ++v) {
    const __m256i word = RansVector<kExactBucketBits>::Step(table, _mm256_setzero_si256(), x[v],
                                                            &x[v], active[v], kPartial);
    symbol[v] = _mm256_and_si256(_mm256_srli_epi32(word, 12), _mm256_set1_epi32(0xFF));
  }
  for (int v = 0; v < 4; ++v) x[v] = avx2::Renormalize(x[v], words);
}

void ActiveLanes(size_t count, __m256i active[4]) {
  alignas(32) std::array<int32_t, kLanes> mask;
  for (int lane = 0; lane < kLanes; ++lane) {
    mask[static_cast<size_t>(lane)] = static_cast<size_t>(LanePosition(lane)) < count ? -1 : 0;
  }
  for (size_t v = 0; v < 4; ++v) {
    active[v] = _mm256_load_si256(reinterpret_cast<const __m256i*>(&mask[8 * v]));
  }
}

template <bool kWide>
void StoreLine(const __m256i symbol[4], const uint8_t* low16, const uint8_t* low8, uint8_t* out) {
  if constexpr (kWide) {
    Store32Bit(symbol[0], symbol[1], low16, low8, out);
    Store32Bit(symbol[2], symbol[3], low16 + 32, low8 + 16, out + 64);
  } else {
    Store16Bit(symbol[0], symbol[1], low8, out);
    Store16Bit(symbol[2], symbol[3], low8 + 16, out + 32);
  }
}

template <bool kWide>
Status Decode(const ExactChunkView& view, MutableByteSpan out) {
  constexpr size_t kSize = kWide ? 4 : 2;
  const size_t n = view.low8.size();
  const size_t whole = n / kLanes * kLanes;
  PaddedWords words(view.words);
  __m256i x[4], active[4], symbol[4];
  for (int v = 0; v < 4; ++v) x[v] = avx2::LoadStates(view.states, v);
  ActiveLanes(kLanes, active);
  for (size_t i = 0; i < whole;) {
    const uint8_t* safe = words.last_safe();
    for (; i < whole && *words.at() <= safe; i += kLanes) {
      DecodeLine<false>(view.table.data(), active, x, words.at(), symbol);
      StoreLine<kWide>(symbol, kWide ? &view.low16[2 * i] : nullptr, &view.low8[i],
                       &out[i * kSize]);
    }
    if (i < whole && !words.EnterTail()) break;
  }
  if (whole < n && !words.overrun()) {
    words.EnterTail();
    ActiveLanes(n - whole, active);
    DecodeLine<true>(view.table.data(), active, x, words.at(), symbol);
    std::array<uint8_t, 2 * kLanes> low16{};
    std::array<uint8_t, kLanes> low8{};
    std::array<uint8_t, kLanes * 4> line;
    std::copy(view.low8.begin() + static_cast<ptrdiff_t>(whole), view.low8.end(), low8.begin());
    if (kWide) {
      std::copy(view.low16.begin() + static_cast<ptrdiff_t>(2 * whole), view.low16.end(),
                low16.begin());
    }
    StoreLine<kWide>(symbol, low16.data(), low8.data(), line.data());
    std::memcpy(&out[whole * kSize], line.data(), (n - whole) * kSize);
  }
  LaneStates states;
  for (int v = 0; v < 4; ++v) avx2::StoreStates(x[v], v, &states);
  return CheckRansEnd(states, words.finished());
}

}  // namespace

Status DecodeExactAvx2(const ExactChunkView& view, DType dtype, MutableByteSpan out) {
  return dtype == DType::kF32 ? Decode<true>(view, out) : Decode<false>(view, out);
}

}  // namespace nwc
