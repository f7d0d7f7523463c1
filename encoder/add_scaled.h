// Sums of scaled vectors, as feedback of errors needs them. The order of additions is fixed.
#pragma once

#include <cstddef>

namespace nwc {

// target += coefficient · vector, both of n values.
inline void AddScaled(const float* vector, float coefficient, size_t n, float* target) {
  for (size_t j = 0; j < n; ++j) target[j] += coefficient * vector[j];
}

// The same for four vectors, `stride` values apart.
inline void AddFourScaled(const float* vectors, size_t stride, const float coefficients[4],
                          size_t n, float* target) {
  const float *v0 = vectors, *v1 = v0 + stride, *v2 = v1 + stride, *v3 = v2 + stride;
  const float c0 = coefficients[0], c1 = coefficients[1], c2 = coefficients[2],
              c3 = coefficients[3];
  for (size_t j = 0; j < n; ++j) {
    target[j] += (c0 * v0[j] + c1 * v1[j]) + (c2 * v2[j] + c3 * v3[j]);
  }
}

}  // namespace nwc
