// Lines and rows of an `nwc` chunk in AVX2. As in stream_avx2.cc a line is four vectors of eight
// lanes: even and odd positions of its first half, then of its second.
#include <immintrin.h>

#include "format/neural_kernels.h"
#include "format/neural_lines.h"
#include "format/rans_avx2.h"

namespace nwc {
namespace {

inline __m256i Load(const std::array<int32_t, kLanes>& values, size_t v) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(&values[8 * v]));
}

inline __m256i Choose(__m256i otherwise, __m256i when_negative, __m256i sign) {
  return _mm256_castps_si256(_mm256_blendv_ps(_mm256_castsi256_ps(otherwise),
                                              _mm256_castsi256_ps(when_negative),
                                              _mm256_castsi256_ps(sign)));
}

// Symbols of eight lanes, each with a table and a bucket count of its own; *x moves on to x'.
inline __m256i Step(const NeuralLineTables& tables, size_t v, const AliasBucket* buckets,
                    __m256i* x) {
  const __m256i bits = Load(tables.bucket_bits, v);
  const __m256i ones = _mm256_set1_epi32(-1);
  const __m256i bucket = _mm256_andnot_si256(_mm256_sllv_epi32(ones, bits), *x);
  __m256i primary, alias;
  avx2::LoadBuckets(buckets, _mm256_add_epi32(Load(tables.first_bucket, v), bucket), &primary,
                    &alias);
  // low - cap, as in RansVector::Step; -4096 >> bits is -cap.
  const __m256i minus_capacity =
      _mm256_srav_epi32(_mm256_set1_epi32(-static_cast<int>(kProbabilityScale)), bits);
  const __m256i biased = _mm256_or_si256(_mm256_srlv_epi32(*x, bits), minus_capacity);
  const __m256i sign = _mm256_add_epi32(biased, _mm256_srli_epi32(primary, 20));
  const __m256i word = Choose(alias, primary, sign);
  const __m256i frequency = _mm256_and_si256(word, _mm256_set1_epi32(0xFFF));
  const __m256i rank = _mm256_add_epi32(biased, _mm256_srli_epi32(word, 20));
  const __m256i next = _mm256_add_epi32(
      _mm256_mullo_epi32(frequency, _mm256_srli_epi32(*x, kProbabilityBits)), rank);
  *x = _mm256_blendv_epi8(*x, next, Load(tables.active, v));
  const __m256i high = _mm256_and_si256(_mm256_srli_epi32(primary, 4), _mm256_set1_epi32(0xFF00));
  const __m256i low = _mm256_and_si256(_mm256_srli_epi32(alias, 12), _mm256_set1_epi32(0xFF));
  return Choose(_mm256_or_si256(high, low), bucket, sign);
}

inline __m256 Scaled(const float* values, const float* factors) {
  const __m256 value = _mm256_mul_ps(_mm256_loadu_ps(values), _mm256_loadu_ps(factors));
  const __m256 plain_nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FC00000));
  return _mm256_blendv_ps(value, plain_nan, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
}

inline __m256i RoundToBFloat16(__m256 value) {
  const __m256i bits = _mm256_castps_si256(value);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i half = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF));
  return _mm256_srli_epi32(_mm256_add_epi32(bits, half), 16);
}

// 16 columns.
inline void Store16(DType dtype, __m256 first, __m256 second, uint8_t* out) {
  auto* to = reinterpret_cast<__m256i*>(out);
  if (dtype == DType::kF32) {
    _mm256_storeu_si256(to, _mm256_castps_si256(first));
    _mm256_storeu_si256(to + 1, _mm256_castps_si256(second));
  } else if (dtype == DType::kF16) {
    constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    _mm256_storeu_si256(
        to, _mm256_set_m128i(_mm256_cvtps_ph(second, kNearest), _mm256_cvtps_ph(first, kNearest)));
  } else {
    const __m256i packed = _mm256_packus_epi32(RoundToBFloat16(first), RoundToBFloat16(second));
    _mm256_storeu_si256(to, _mm256_permute4x64_epi64(packed, 0xD8));
  }
}

}  // namespace

uint32_t DecodeNeuralLineAvx2(const NeuralLineTables& tables, NeuralRans* rans, int16_t* latents) {
  __m256i x[4], latent[4];
  uint32_t escapes = 0;
  for (size_t v = 0; v < 4; ++v) {
    x[v] = avx2::LoadStates(rans->states, static_cast<int>(v));
    const __m256i symbol = Step(tables, v, rans->buckets, &x[v]);
    const __m256i active = Load(tables.active, v);
    const __m256i escape =
        _mm256_and_si256(_mm256_cmpeq_epi32(symbol, Load(tables.escape, v)), active);
    escapes |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(escape))) << (8 * v);
    latent[v] = _mm256_and_si256(_mm256_add_epi32(symbol, Load(tables.lowest, v)), active);
  }
  const uint8_t** words = rans->words.at();
  for (size_t v = 0; v < 4; ++v) {
    const __m256i active = Load(tables.active, v);
    // Lanes without a column count as above 2^16.
    const __m256i idle = _mm256_andnot_si256(active, _mm256_set1_epi32(-1));
    const __m256i read = avx2::Renormalize(_mm256_or_si256(x[v], idle), words);
    avx2::StoreStates(_mm256_blendv_epi8(x[v], read, active), static_cast<int>(v), &rans->states);
  }
  for (size_t half = 0; half < 2; ++half) {
    const __m256i even = _mm256_and_si256(latent[2 * half], _mm256_set1_epi32(0xFFFF));
    const __m256i odd = _mm256_slli_epi32(latent[2 * half + 1], 16);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(latents + 16 * half),
                        _mm256_or_si256(even, odd));
  }
  return escapes;
}

void StoreNeuralRowAvx2(DType dtype, const float* values, const float* factors, size_t columns,
                        uint8_t* out) {
  if (columns < kNeuralColumns) return StoreNeuralRowScalar(dtype, values, factors, columns, out);
  for (size_t c = 0; c < kNeuralColumns; c += 16) {
    Store16(dtype, Scaled(values + c, factors + c), Scaled(values + c + 8, factors + c + 8),
            out + c * DTypeSize(dtype));
  }
}

}  // namespace nwc
