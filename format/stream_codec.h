// `stream` chunks: indices to bytes and back (spec/codec.md sections 2 and 7). Pure functions; a
// StreamDecoder is immutable and may be used by many threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "format/bytes.h"
#include "format/dtype.h"
#include "format/freq_table.h"
#include "format/index.h"
#include "format/side_info.h"
#include "format/simd.h"
#include "format/status.h"

namespace nwc {

// What the encoder chose for one tile of rows × columns weights.
struct StreamTile {
  uint32_t rows = 0, columns = 0;
  std::vector<int8_t> indices;          // k, row-major, rows · columns
  std::vector<uint16_t> exact_columns;  // ascending
  std::vector<uint32_t> patches;        // row · columns + column, ascending
  std::vector<uint8_t> exact_values;    // elements of exact_columns, column after column
  std::vector<uint8_t> patch_values;    // elements of patches
};

// Alias tables of one codec for every bucket count, for decoding.
class StreamTables {
 public:
  explicit StreamTables(const CodecTables& tables);
  [[nodiscard]] const AliasBucket* buckets(int bucket_bits) const {
    return by_bits_[static_cast<size_t>(bucket_bits - kMinBucketBits)].data();
  }
  [[nodiscard]] const CodecTables& tables() const { return tables_; }

 private:
  CodecTables tables_;
  std::vector<AliasBucket> by_bits_[kMaxBucketBits - kMinBucketBits + 1];
};

// Encoding tables of one codec, built when first needed; safe to share.
class StreamEncodeTables {
 public:
  explicit StreamEncodeTables(const CodecTables& tables);
  ~StreamEncodeTables();
  [[nodiscard]] const EncodeTable& table(int bucket_bits, int t, int q) const;
  [[nodiscard]] const CodecTables& tables() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// row_table and column_table: the tile's slices of a and b. Every index lies in its table's
// alphabet.
std::vector<uint8_t> EncodeStreamChunk(const StreamTile& tile, int trellis,
                                       std::span<const int16_t> row_table,
                                       std::span<const int16_t> column_table,
                                       const StreamEncodeTables& tables);

// The work of a decoder, part by part; each is measured with all before it.
enum class StreamStage : uint8_t {
  kEntropy,  // look-ups and words, with quantiser 0 throughout: wrong symbols at the right cost
  kTrellis,  // the quantisers' states
  kScale,    // values in binary32
  kStore,    // in the output's dtype, in place, with exact columns and patches: all of it
};
inline constexpr int kStreamStageCount = 4;

// Decodes the chunks of one tensor.
class StreamDecoder {
 public:
  // `tensor` is a validated stream tensor, `side` its parsed side information; both copied as far
  // as needed.
  StreamDecoder(const TensorInfo& tensor, SideInfo side,
                std::shared_ptr<const StreamTables> tables);

  // Decodes `chunk` (a tile of the tensor's grid) into rows of `row_stride_bytes` beginning at
  // `out`, which is the address of the tile's first weight and has room for the whole tile.
  // Checks R23-R26. On failure the tile's bytes at `out` are unspecified.
  Status Decode(ByteSpan chunk, const TileRange& tile, uint8_t* out, size_t row_stride_bytes,
                Simd simd) const;

  // For measurements: the same up to stage `last`. What it decodes is lost before kStore, and R26
  // is not checked then. kUnsupported for a part in scalar code.
  Status DecodeUpTo(StreamStage last, ByteSpan chunk, const TileRange& tile, uint8_t* out,
                    size_t row_stride_bytes, Simd simd) const;

  [[nodiscard]] const SideInfo& side() const { return side_; }

 private:
  DType dtype_;
  StreamInfo info_;
  SideInfo side_;
  std::shared_ptr<const StreamTables> tables_;
  std::vector<float> row_steps_;       // rows
  std::vector<float> column_factors_;  // columns
};

}  // namespace nwc
