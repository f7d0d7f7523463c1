// Runs the net of a codec of profile `nwc` (arXiv 2510.11234; arithmetic in
// spec/codec.md section 11): 32 columns at once, each result the same bits on every processor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "format/neural_codec.h"
#include "format/neural_kernels.h"
#include "format/simd.h"

namespace nwc {

// Immutable, shared between threads.
class NeuralSynthesis {
 public:
  // Reusable memory of one thread; grows to what the largest net needs.
  struct Scratch {
    std::vector<float> inputs, hidden, product;
  };

  // Copies what it needs of `codec`, whose parameters have the sizes of its settings; names and
  // tables do not matter.
  explicit NeuralSynthesis(const NeuralCodec& codec);

  // latents[l·32 + column] and quality[column] of `columns` (1 … 32) columns to out[k·32 + column],
  // chunk × 32: the net's output before the column scale. out of other columns is unspecified. All
  // of latents is read, latents × 32.
  void Run(const int16_t* latents, const uint8_t* quality, size_t columns, float* out,
           Simd simd = BestSimd()) const;
  // The same for inputs that are no integers, as an analysis net has.
  void Run(const float* latents, const uint8_t* quality, size_t columns, float* out,
           Simd simd = BestSimd()) const;
  // The same without allocating once `scratch` has grown.
  void Run(const int16_t* latents, const uint8_t* quality, size_t columns, float* out, Simd simd,
           Scratch* scratch) const;

  [[nodiscard]] const NeuralSettings& settings() const { return settings_; }

 private:
  void RunNet(const float* inputs, const uint8_t* quality, size_t columns, float* out, Simd simd,
              Scratch* scratch) const;

  struct Block {
    NeuralLayer layer;
    NeuralNorm norm;
  };
  NeuralSettings settings_;
  NeuralLayer in_, out_;
  std::vector<Block> blocks_;
};

}  // namespace nwc
