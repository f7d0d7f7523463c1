// The kernels in AVX2 with fused multiply-add: lanes are columns, so that every sum runs in the
// order of the scalar code.
#include <immintrin.h>

#include <algorithm>

#include "format/neural_kernels.h"

namespace nwc {
namespace {

constexpr size_t kVectors = kNeuralColumns / 8;

// The sums of one output. Named members and not an array: g++ 12 keeps these in registers.
struct Sums {
  __m256 a, b, c, d;
};

inline Sums LoadSums(const float* from) {
  return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8), _mm256_loadu_ps(from + 16),
          _mm256_loadu_ps(from + 24)};
}

inline void StoreSums(const Sums& sums, float* to) {
  _mm256_storeu_ps(to, sums.a);
  _mm256_storeu_ps(to + 8, sums.b);
  _mm256_storeu_ps(to + 16, sums.c);
  _mm256_storeu_ps(to + 24, sums.d);
}

// `inputs` more terms of the sums of 1, 2 or 3 outputs; returns the weights after them.
template <size_t kOutputs>
inline const float* AddTerms(const float* w, const float* x, size_t inputs, float* out) {
  constexpr bool kTwo = kOutputs > 1, kThree = kOutputs > 2;
  Sums first = LoadSums(out), second{}, third{};
  if constexpr (kTwo) second = LoadSums(out + kNeuralColumns);
  if constexpr (kThree) third = LoadSums(out + 2 * kNeuralColumns);
  for (size_t k = 0; k < inputs; ++k, w += kOutputs, x += kNeuralColumns) {
    const __m256 w0 = _mm256_broadcast_ss(w);
    const __m256 w1 = _mm256_broadcast_ss(w + (kTwo ? 1 : 0));
    const __m256 w2 = _mm256_broadcast_ss(w + (kThree ? 2 : 0));
    const auto add = [&](size_t at, __m256 Sums::*part) {
      const __m256 in = _mm256_loadu_ps(x + at);
      first.*part = _mm256_fmadd_ps(w0, in, first.*part);
      if constexpr (kTwo) second.*part = _mm256_fmadd_ps(w1, in, second.*part);
      if constexpr (kThree) third.*part = _mm256_fmadd_ps(w2, in, third.*part);
    };
    add(0, &Sums::a);
    add(8, &Sums::b);
    add(16, &Sums::c);
    add(24, &Sums::d);
  }
  StoreSums(first, out);
  if constexpr (kTwo) StoreSums(second, out + kNeuralColumns);
  if constexpr (kThree) StoreSums(third, out + 2 * kNeuralColumns);
  return w;
}

// The embedding of eight columns for one feature.
inline __m256 LookUp(const float* embedding, __m256i quality, bool many) {
  const __m256 low = _mm256_permutevar8x32_ps(_mm256_loadu_ps(embedding), quality);
  if (!many) return low;
  const __m256 high = _mm256_permutevar8x32_ps(_mm256_loadu_ps(embedding + 8), quality);
  const __m256i upper = _mm256_slli_epi32(quality, 28);  // bit 3 becomes the sign
  return _mm256_blendv_ps(low, high, _mm256_castsi256_ps(upper));
}

// 1 / sqrt(variance + eps) of eight columns; h becomes h - mean.
inline __m256 Center(size_t width, float* h) {
  const __m256 count = _mm256_set1_ps(static_cast<float>(width));
  __m256 sum = _mm256_setzero_ps();
  for (size_t i = 0; i < width; ++i) {
    sum = _mm256_add_ps(sum, _mm256_loadu_ps(h + i * kNeuralColumns));
  }
  const __m256 mean = _mm256_div_ps(sum, count);
  __m256 squares = _mm256_setzero_ps();
  for (size_t i = 0; i < width; ++i) {
    float* at = h + i * kNeuralColumns;
    const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(at), mean);
    _mm256_storeu_ps(at, d);
    squares = _mm256_add_ps(squares, _mm256_mul_ps(d, d));
  }
  const __m256 variance = _mm256_div_ps(squares, count);
  return _mm256_div_ps(_mm256_set1_ps(1.0f),
                       _mm256_sqrt_ps(_mm256_add_ps(variance, _mm256_set1_ps(kLayerNormEpsilon))));
}

}  // namespace

void ApplyLayerAvx2(const NeuralLayer& layer, const float* x, float* out) {
  for (size_t o = 0; o < layer.outputs; ++o) {
    const __m256 bias = _mm256_broadcast_ss(&layer.bias[o]);
    for (size_t v = 0; v < kVectors; ++v) {
      _mm256_storeu_ps(out + o * kNeuralColumns + 8 * v, bias);
    }
  }
  const float* w = layer.weights.data();
  for (size_t i = 0; i < layer.inputs; i += kNeuralInputBlock) {
    const size_t inputs = std::min(kNeuralInputBlock, layer.inputs - i);
    const float* from = x + i * kNeuralColumns;
    size_t o = 0;
    for (; o + kNeuralOutputGroup <= layer.outputs; o += kNeuralOutputGroup) {
      w = AddTerms<kNeuralOutputGroup>(w, from, inputs, out + o * kNeuralColumns);
    }
    float* rest = out + o * kNeuralColumns;
    if (layer.outputs - o == 2) w = AddTerms<2>(w, from, inputs, rest);
    if (layer.outputs - o == 1) w = AddTerms<1>(w, from, inputs, rest);
  }
}

void ApplyNormAvx2(const NeuralNorm& norm, float* h, const uint8_t* quality, float* x) {
  for (size_t v = 0; v < kVectors; ++v) {
    const __m256i q =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(quality + 8 * v)));
    const __m256 inverse = Center(norm.width, h + 8 * v);
    for (size_t i = 0; i < norm.width; ++i) {
      const size_t at = i * kNeuralColumns + 8 * v;
      const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(h + at), inverse);
      const __m256 z = _mm256_fmadd_ps(scaled, _mm256_broadcast_ss(&norm.gain[i]),
                                       _mm256_broadcast_ss(&norm.shift[i]));
      // Of a NaN and 0 max gives its second operand, as the scalar comparison does.
      const __m256 relu = _mm256_max_ps(z, _mm256_setzero_ps());
      const __m256 e = LookUp(&norm.embedding[i * kNeuralQualitySlots], q, norm.many_qualities);
      _mm256_storeu_ps(x + at, _mm256_mul_ps(_mm256_add_ps(_mm256_loadu_ps(x + at), relu), e));
    }
  }
}

}  // namespace nwc
