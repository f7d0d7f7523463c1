#include "format/neural_synthesis.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace nwc {
namespace {

// Calls body(first input, inputs, first output, outputs) in the order weights are packed in.
template <typename Body>
void ForEachGroup(size_t inputs, size_t outputs, const Body& body) {
  for (size_t i = 0; i < inputs; i += kNeuralInputBlock) {
    const size_t input_count = std::min(kNeuralInputBlock, inputs - i);
    for (size_t o = 0; o < outputs; o += kNeuralOutputGroup) {
      body(i, input_count, o, std::min(kNeuralOutputGroup, outputs - o));
    }
  }
}

NeuralNorm MakeNorm(const NeuralBlock& block, const NeuralSettings& settings) {
  NeuralNorm norm;
  norm.width = settings.width;
  norm.gain = block.gain;
  norm.shift = block.shift;
  norm.many_qualities = settings.qualities > kNeuralQualitySlots / 2;
  norm.embedding.assign(norm.width * kNeuralQualitySlots, 0);
  for (size_t q = 0; q < settings.qualities; ++q) {
    for (size_t i = 0; i < norm.width; ++i) {
      norm.embedding[i * kNeuralQualitySlots + q] = block.embedding[q * norm.width + i];
    }
  }
  return norm;
}

}  // namespace

NeuralLayer PackNeuralLayer(const std::vector<float>& weight, const std::vector<float>& bias,
                            size_t inputs) {
  NeuralLayer layer;
  layer.inputs = inputs;
  layer.outputs = bias.size();
  layer.bias = bias;
  layer.weights.reserve(weight.size());
  ForEachGroup(inputs, layer.outputs, [&](size_t i, size_t ni, size_t o, size_t no) {
    for (size_t k = i; k < i + ni; ++k) {
      for (size_t r = o; r < o + no; ++r) layer.weights.push_back(weight[r * inputs + k]);
    }
  });
  return layer;
}

void ApplyLayerScalar(const NeuralLayer& layer, const float* x, float* out) {
  for (size_t o = 0; o < layer.outputs; ++o) {
    std::fill_n(out + o * kNeuralColumns, kNeuralColumns, layer.bias[o]);
  }
  const float* w = layer.weights.data();
  ForEachGroup(layer.inputs, layer.outputs, [&](size_t i, size_t ni, size_t o, size_t no) {
    for (size_t k = i; k < i + ni; ++k) {
      for (size_t r = o; r < o + no; ++r, ++w) {
        for (size_t c = 0; c < kNeuralColumns; ++c) {
          float& sum = out[r * kNeuralColumns + c];
          sum = std::fma(*w, x[k * kNeuralColumns + c], sum);
        }
      }
    }
  });
}

void ApplyNormScalar(const NeuralNorm& norm, float* h, const uint8_t* quality, float* x) {
  const auto width = static_cast<float>(norm.width);
  for (size_t c = 0; c < kNeuralColumns; ++c) {
    float sum = 0;
    for (size_t i = 0; i < norm.width; ++i) sum = sum + h[i * kNeuralColumns + c];
    const float mean = sum / width;
    float squares = 0;
    for (size_t i = 0; i < norm.width; ++i) {
      float& d = h[i * kNeuralColumns + c];
      d = d - mean;
      squares = squares + d * d;
    }
    const float inverse = 1.0f / std::sqrt(squares / width + kLayerNormEpsilon);
    for (size_t i = 0; i < norm.width; ++i) {
      const float z = std::fma(h[i * kNeuralColumns + c] * inverse, norm.gain[i], norm.shift[i]);
      float& value = x[i * kNeuralColumns + c];
      value = (value + (z > 0 ? z : 0)) * norm.embedding[i * kNeuralQualitySlots + quality[c]];
    }
  }
}

NeuralSynthesis::NeuralSynthesis(const NeuralCodec& codec)
    : settings_(codec),
      in_(PackNeuralLayer(codec.in_weight, codec.in_bias, codec.latents)),
      out_(PackNeuralLayer(codec.out_weight, codec.out_bias, codec.width)) {
  blocks_.reserve(codec.block.size());
  for (const NeuralBlock& b : codec.block) {
    blocks_.push_back({PackNeuralLayer(b.weight, b.bias, codec.width), MakeNorm(b, codec)});
  }
}

void NeuralSynthesis::Run(const int16_t* latents, const uint8_t* quality, size_t columns,
                          float* out, Simd simd) const {
  Scratch scratch;
  Run(latents, quality, columns, out, simd, &scratch);
}

void NeuralSynthesis::Run(const float* latents, const uint8_t* quality, size_t columns, float* out,
                          Simd simd) const {
  Scratch scratch;
  RunNet(latents, quality, columns, out, simd, &scratch);
}

void NeuralSynthesis::Run(const int16_t* latents, const uint8_t* quality, size_t columns,
                          float* out, Simd simd, Scratch* scratch) const {
  scratch->inputs.assign(latents, latents + settings_.latents * kNeuralColumns);
  RunNet(scratch->inputs.data(), quality, columns, out, simd, scratch);
}

void NeuralSynthesis::RunNet(const float* inputs, const uint8_t* quality, size_t columns,
                             float* out, Simd simd, Scratch* scratch) const {
  const bool vectors = simd >= Simd::kAvx2;
  const auto apply_layer = vectors ? ApplyLayerAvx2 : ApplyLayerScalar;
  const auto apply_norm = vectors ? ApplyNormAvx2 : ApplyNormScalar;
  std::array<uint8_t, kNeuralColumns> quality_of_lane{};
  std::copy_n(quality, columns, quality_of_lane.begin());
  const size_t size = settings_.width * kNeuralColumns;
  if (scratch->hidden.size() < size) {
    scratch->hidden.resize(size);
    scratch->product.resize(size);
  }
  float* x = scratch->hidden.data();
  float* h = scratch->product.data();
  apply_layer(in_, inputs, x);
  for (const Block& b : blocks_) {
    apply_layer(b.layer, x, h);
    apply_norm(b.norm, h, quality_of_lane.data(), x);
  }
  apply_layer(out_, x, out);
}

}  // namespace nwc
