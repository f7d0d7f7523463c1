// The net of an `nwc` codec in binary32, in the order of spec/codec.md section 11: the same bits as
// on the host. A block of threads takes kNetVectors vectors (chunks of one column) through it.
#pragma once

#include <cmath>

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"
#include "cuda/neural_latents.h"
#include "cuda/tile_writer.h"

namespace nwc {

inline constexpr uint32_t kNetVectors = 8;
inline constexpr int kNetThreads = 256;
inline constexpr float kNetEpsilon = 1e-5f;  // 3727C5AC
inline constexpr uint32_t kPlainNanBits = 0x7FC00000;

// Shared memory of a block, in floats: two sets of activations [feature][vector] and one number a
// vector. Features: the largest of width, latents and chunk.
NWC_DEVICE_INLINE uint32_t NetFeatures(const NeuralNet& net) {
  return Greatest(net.width, Greatest(net.latents, net.chunk));
}
inline constexpr uint32_t kNetExtraFloats = kNetVectors;
constexpr uint32_t NetSharedBytes(uint32_t features) {
  return static_cast<uint32_t>(sizeof(float)) * (2 * kNetVectors * features + kNetExtraFloats);
}

// out = weight · x + bias, activations as [feature][vector].
NWC_DEVICE_INLINE void ApplyNetLayer(const float* weight, const float* bias, uint32_t inputs,
                                     uint32_t outputs, const float* x, float* out, int thread,
                                     int threads) {
  for (auto o = static_cast<uint32_t>(thread); o < outputs; o += static_cast<uint32_t>(threads)) {
    float sum[kNetVectors];
    for (uint32_t v = 0; v < kNetVectors; ++v) sum[v] = bias[o];
    for (uint32_t i = 0; i < inputs; ++i) {
      const float w = weight[size_t{i} * outputs + o];
      for (uint32_t v = 0; v < kNetVectors; ++v) {
        sum[v] = fmaf(w, x[i * kNetVectors + v], sum[v]);
      }
    }
    for (uint32_t v = 0; v < kNetVectors; ++v) out[o * kNetVectors + v] = sum[v];
  }
}

// h becomes its distance from the mean; *inverse the reciprocal of its deviation. Sums go in order.
NWC_DEVICE_INLINE void CenterNetVector(float* h, uint32_t width, uint32_t vector, float* inverse) {
  const auto count = static_cast<float>(width);
  float sum = 0;
  for (uint32_t i = 0; i < width; ++i) sum = sum + h[i * kNetVectors + vector];
  const float mean = sum / count;
  float squares = 0;
  for (uint32_t i = 0; i < width; ++i) {
    float& d = h[i * kNetVectors + vector];
    d = d - mean;
    squares = squares + d * d;
  }
  *inverse = 1.0f / sqrtf(squares / count + kNetEpsilon);
}

// From the net's output to the element.
template <DType kDType>
NWC_DEVICE_INLINE typename ElementOf<kDType>::Bits NetElement(float g, float factor) {
  const float value = g * factor;
  return ElementBits<kDType>(value != value ? std::bit_cast<float>(kPlainNanBits) : value);
}

// The vectors of a group, which begin at number `first` (chunk row · columns + column).
struct NetGroup {
  uint32_t first;
  uint32_t count;  // 1 … kNetVectors
};

// x = (x + relu(LayerNorm(h))) ⊙ e[quality], for one feature of all vectors of the group.
NWC_DEVICE_INLINE void ApplyNetNorm(const NeuralJob& job, const NetGroup& group,
                                    const float* norm_parameters, const float* h,
                                    const float* inverse, float* x, uint32_t feature) {
  const uint32_t width = job.net.width;
  const float gain = norm_parameters[feature];
  const float shift = norm_parameters[width + feature];
  const float* const embedding = norm_parameters + 2 * width;
  for (uint32_t v = 0; v < group.count; ++v) {
    const uint32_t quality = job.column_quality[(group.first + v) % job.columns];
    const uint32_t at = feature * kNetVectors + v;
    const float z = fmaf(h[at] * inverse[v], gain, shift);
    x[at] = (x[at] + (z > 0 ? z : 0.0f)) * embedding[quality * width + feature];
  }
}

template <DType kDType, typename Block>
NWC_DEVICE void StoreNetGroup(const Block& block, const NeuralJob& job, const NetGroup& group,
                              const float* values) {
  block.Each([&](int thread) {
    const uint32_t chunk = job.net.chunk;
    for (auto at = static_cast<uint32_t>(thread); at < chunk * kNetVectors;
         at += static_cast<uint32_t>(block.threads())) {
      const uint32_t vector = group.first + at % kNetVectors;
      const uint32_t row = vector / job.columns * chunk + at / kNetVectors;
      if (at % kNetVectors >= group.count || row >= job.rows) continue;
      const uint32_t column = vector % job.columns;
      StoreInWindow(job, row, column, NetElement<kDType>(values[at], job.column_factors[column]));
    }
  });
}

// `memory`: 2 · kNetVectors · NetFeatures + kNetExtraFloats floats of shared memory.
template <DType kDType, typename Block>
NWC_DEVICE void RunNetGroup(const Block& block, const NeuralJob& job, const NetGroup& group,
                            float* memory) {
  const NeuralNet& net = job.net;
  const uint32_t width = net.width;
  float* const x = memory;
  float* const h = memory + kNetVectors * NetFeatures(net);
  float* const inverse = h + kNetVectors * NetFeatures(net);
  const float* p = net.parameters;
  block.Each([&](int thread) {
    for (auto at = static_cast<uint32_t>(thread); at < net.latents * kNetVectors;
         at += static_cast<uint32_t>(block.threads())) {
      const uint32_t v = at % kNetVectors, l = at / kNetVectors;
      h[at] = v < group.count ? job.latent_values[size_t{group.first + v} * net.latents + l] : 0.0f;
    }
  });
  block.Each([&](int thread) {
    ApplyNetLayer(p, p + net.latents * width, net.latents, width, h, x, thread, block.threads());
  });
  p += (net.latents + 1) * width;
  for (uint32_t b = 0; b < net.blocks; ++b) {
    block.Each([&](int thread) {
      ApplyNetLayer(p, p + size_t{width} * width, width, width, x, h, thread, block.threads());
    });
    p += size_t{width} * (width + 1);
    block.Each([&](int thread) {
      const auto v = static_cast<uint32_t>(thread);
      if (v < kNetVectors) CenterNetVector(h, width, v, inverse + v);
    });
    block.Each([&](int thread) {
      for (auto i = static_cast<uint32_t>(thread); i < width;
           i += static_cast<uint32_t>(block.threads())) {
        ApplyNetNorm(job, group, p, h, inverse, x, i);
      }
    });
    p += size_t{width} * (2 + net.qualities);
  }
  block.Each([&](int thread) {
    ApplyNetLayer(p, p + size_t{net.chunk} * width, width, net.chunk, x, h, thread,
                  block.threads());
  });
  StoreNetGroup<kDType>(block, job, group, h);
}

}  // namespace nwc
