// `nwc` chunks: latents to bytes and back (spec/codec.md section 12). A NeuralDecoder is immutable
// and may be used by many threads.
//
//   0 words (4)  4 latent_escapes (4)  8 exact_chunks (4)  12 states (128)
//   140 words  latent_escapes  pad to 4  chunk_ids  chunk_values  pad to 4
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "format/bytes.h"
#include "format/dtype.h"
#include "format/index.h"
#include "format/neural_synthesis.h"
#include "format/neural_tables.h"
#include "format/side_info.h"
#include "format/simd.h"
#include "format/status.h"
#include "format/synthesis.h"

namespace nwc {

// What the net's output is multiplied by; -512 ≤ column_code ≤ 511.
inline float NeuralColumnFactor(float scale, int column_code) {
  return scale * StepOfCode(column_code);
}

// What the encoder chose for one tile of rows × columns weights. chunk_rows = ceil(rows / chunk).
struct NeuralTile {
  uint32_t rows = 0, columns = 0;
  std::vector<int16_t> latents;  // [chunk_row][column][latent], those of exact chunks included
  std::vector<uint32_t> exact_chunks;  // chunk_row · columns + column, ascending
  std::vector<uint8_t> exact_values;   // elements of exact_chunks, chunk after chunk, top to bottom
};

// column_quality: of the tile's columns. kUsage when the parts of the tile do not fit each other.
Result<std::vector<uint8_t>> EncodeNeuralChunk(const NeuralTile& tile, DType dtype,
                                               std::span<const uint8_t> column_quality,
                                               const NeuralEncodeTables& tables);

// A codec ready for decoding; shared by all tensors that use it.
struct NeuralDecodeCodec {
  explicit NeuralDecodeCodec(const NeuralCodec& codec) : tables(codec), synthesis(codec) {}
  NeuralTables tables;
  NeuralSynthesis synthesis;
};

// Decodes the chunks of one tensor.
class NeuralDecoder {
 public:
  // `tensor` is a validated nwc tensor, `side` its parsed side information.
  NeuralDecoder(const TensorInfo& tensor, NeuralSideInfo side,
                std::shared_ptr<const NeuralDecodeCodec> codec);

  // Decodes `chunk` (a tile of the tensor's grid) into rows of `row_stride_bytes` beginning at
  // `out`, which is the address of the tile's first weight and has room for the whole tile.
  // Checks R25, R26, R36 and R37. On failure the tile's bytes at `out` are unspecified.
  Status Decode(ByteSpan chunk, const TileRange& tile, uint8_t* out, size_t row_stride_bytes,
                Simd simd) const;

  [[nodiscard]] const NeuralSideInfo& side() const { return side_; }

 private:
  DType dtype_;
  NeuralSideInfo side_;
  std::shared_ptr<const NeuralDecodeCodec> codec_;
  std::vector<float> column_factors_;  // columns
};

}  // namespace nwc
