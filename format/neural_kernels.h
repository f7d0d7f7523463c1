// The two operations of the net, scalar and AVX2 with the same bits (spec/codec.md section 11).
// Activations are matrices [feature][32 columns] of binary32. Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nwc {

inline constexpr size_t kNeuralColumns = 32;
// Inputs taken at once, so that their activations (16 KiB) stay in the first cache level. A partial
// sum waits in memory meanwhile, which changes no bit.
inline constexpr size_t kNeuralInputBlock = 128;
// Outputs computed at once: 3 × 4 vectors of sums and 4 of activations fill the 16 registers.
inline constexpr size_t kNeuralOutputGroup = 3;
inline constexpr size_t kNeuralQualitySlots = 16;
inline constexpr float kLayerNormEpsilon = 1e-5f;  // 3727C5AC

// out = weight · x + bias.
struct NeuralLayer {
  size_t inputs = 0, outputs = 0;
  std::vector<float> weights;  // in the order of use: [input block][output group][input][output]
  std::vector<float> bias;
};

// x = (x + relu(LayerNorm(h))) ⊙ embedding[quality].
struct NeuralNorm {
  size_t width = 0;
  std::vector<float> gain, shift;
  std::vector<float> embedding;  // [feature][16 qualities], unused ones 0
  bool many_qualities = false;   // more than 8
};

// `weight` is outputs × inputs, row = output.
NeuralLayer PackNeuralLayer(const std::vector<float>& weight, const std::vector<float>& bias,
                            size_t inputs);

// x: inputs × 32; out: outputs × 32. They do not overlap.
void ApplyLayerScalar(const NeuralLayer& layer, const float* x, float* out);
void ApplyLayerAvx2(const NeuralLayer& layer, const float* x, float* out);

// h and x: width × 32; quality: 32, each below 16. h is overwritten.
void ApplyNormScalar(const NeuralNorm& norm, float* h, const uint8_t* quality, float* x);
void ApplyNormAvx2(const NeuralNorm& norm, float* h, const uint8_t* quality, float* x);

}  // namespace nwc
