// The entropy-coded lines of an `nwc` chunk and the last step to bytes, scalar and AVX2 with the
// same results (spec/codec.md sections 1-3, 11 and 12).
#pragma once

#include <array>
#include <cstdint>

#include "format/bytes.h"
#include "format/dtype.h"
#include "format/neural_tables.h"
#include "format/padded_words.h"
#include "format/rans.h"

namespace nwc {

inline constexpr size_t kNeuralHeaderBytes = 140;

// A chunk taken apart; spans point into it.
struct NeuralChunkView {
  LaneStates states;
  ByteSpan words, latent_escapes, chunk_ids, chunk_values;
};

// Checks R25 and R36 for a tile of rows × columns weights.
Result<NeuralChunkView> ParseNeuralChunk(ByteSpan bytes, uint64_t rows, uint64_t columns,
                                         const NeuralSettings& settings, size_t element_bytes);

// The tables of one latent in all lanes; those of lanes without a column are any table.
struct NeuralLineTables {
  alignas(32) std::array<int32_t, kLanes> first_bucket;
  alignas(32) std::array<int32_t, kLanes> bucket_bits;
  alignas(32) std::array<int32_t, kLanes> lowest;
  alignas(32) std::array<int32_t, kLanes> escape;
  alignas(32) std::array<int32_t, kLanes> active;  // all ones where the column exists
};

struct NeuralRans {
  LaneStates states;
  PaddedWords words;
  const AliasBucket* buckets;
};

// Decodes one line to latents[position], 0 where there is no column. Returns the lanes that hold an
// escape as a mask; their latents are unspecified. The words are safe to over-read by a line.
uint32_t DecodeNeuralLineScalar(const NeuralLineTables& tables, NeuralRans* rans, int16_t* latents);
uint32_t DecodeNeuralLineAvx2(const NeuralLineTables& tables, NeuralRans* rans, int16_t* latents);

// values[column] · factors[column] of `columns` (1 … 32) columns, a NaN made 7FC00000, rounded to
// dtype. 32 of values are readable, and 32 of factors when `columns` is 32.
void StoreNeuralRowScalar(DType dtype, const float* values, const float* factors, size_t columns,
                          uint8_t* out);
void StoreNeuralRowAvx2(DType dtype, const float* values, const float* factors, size_t columns,
                        uint8_t* out);

}  // namespace nwc
