// Codes some chunk rows of a matrix, all columns: the unit of work of EncodeNeural. Rows are
// independent of each other once scales and feedback are known, but for the rows of a chunk.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "encoder/neural_encoder.h"
#include "format/neural_synthesis.h"
#include "format/neural_tables.h"

namespace nwc {

// What all bands of a tensor share; immutable.
struct NeuralBandContext {
  const TensorInfo* tensor;
  ByteSpan elements;
  const NeuralSynthesis* analysis;
  const NeuralSynthesis* synthesis;
  const NeuralTables* tables;
  std::span<const float> expected_mse;    // qualities
  std::span<const float> column_factor;   // columns: what multiplies the net's output
  std::span<const uint8_t> quality;       // columns
  std::span<const float> feedback;        // columns × columns (BlockFeedback), or empty
  std::span<const int16_t> idle_latents;  // qualities × latents: the cheapest, under exact chunks
};

struct NeuralBandResult {
  double bits = 0, squared_error = 0;
  // Exact chunks, by chunk row from the band's first, then column; ascending.
  std::vector<std::pair<uint32_t, uint32_t>> exact_chunks;
};

// Rows row_begin … row_end (exclusive) of the tensor, inside one row of tiles and starting at a
// chunk. Writes latents [chunk row of the band][column][latent], and the band's rows of `decoded`
// (the whole tensor).
NeuralBandResult CodeNeuralBand(const NeuralBandContext& context, uint64_t row_begin,
                                uint64_t row_end, int16_t* latents, MutableByteSpan decoded);

}  // namespace nwc
