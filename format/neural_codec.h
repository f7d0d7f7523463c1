// A codec of profile `nwc`: the net g_s that turns integer latents into chunks of weights, and the
// entropy tables of the latents ("Neural Weight Compression", arXiv 2510.11234;
// spec/codec.md sections 10 and 11). Plain values; pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

inline constexpr uint16_t kMaxNeuralChunk = 64;
inline constexpr uint16_t kMaxNeuralLatents = 64;
inline constexpr uint16_t kMaxNeuralWidth = 1024;
inline constexpr uint8_t kMaxNeuralBlocks = 8;
inline constexpr uint8_t kMaxNeuralQualities = 16;
inline constexpr size_t kMinNeuralSymbols = 2;
inline constexpr size_t kMaxNeuralSymbols = 1024;

// The shape of a codec. The defaults are those the paper publishes.
struct NeuralSettings {
  uint16_t chunk = 16;    // weights a chunk
  uint16_t latents = 16;  // latents a chunk
  uint16_t width = 512;   // of the hidden layers
  uint8_t blocks = 4;
  uint8_t qualities = 4;

  [[nodiscard]] bool InRange() const;  // R32
  [[nodiscard]] size_t table_count() const { return size_t{qualities} * latents; }
  [[nodiscard]] uint64_t parameter_count() const;
  // What a stored codec of this shape can have (R32). In range: no overflow.
  [[nodiscard]] uint64_t min_stored_bytes() const;
  [[nodiscard]] uint64_t max_stored_bytes() const;
};

// Symbol s below the last stands for the latent lowest + s; the last is the escape.
struct NeuralTable {
  int16_t lowest = 0;
  std::vector<uint16_t> frequencies;  // each at least 1, summing to 4096
};

// x = (x + relu(LayerNorm(weight · x + bias) with gain and shift)) ⊙ embedding[quality].
struct NeuralBlock {
  std::vector<float> weight;             // width × width, row = output
  std::vector<float> bias, gain, shift;  // width
  std::vector<float> embedding;          // qualities × width
};

struct NeuralCodec : NeuralSettings {
  std::string name;
  std::vector<float> in_weight;     // width × latents
  std::vector<float> in_bias;       // width
  std::vector<float> out_weight;    // chunk × width
  std::vector<float> out_bias;      // chunk
  std::vector<NeuralBlock> block;   // blocks
  std::vector<NeuralTable> tables;  // qualities × latents
};

// The bytes a container holds (without the name and the settings). kUsage when a part has a wrong
// size, a parameter is no finite binary16, or a table is malformed.
Result<std::vector<uint8_t>> SerializeNeuralCodec(const NeuralCodec& codec);

// `settings` are in range. Checks R35; allocates at most about twice the size of `bytes`. The name
// is left empty.
Result<NeuralCodec> ParseNeuralCodec(const NeuralSettings& settings, ByteSpan bytes);

}  // namespace nwc
