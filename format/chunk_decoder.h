// One door to all profiles: decodes any chunk of a tensor. Immutable, shared by threads.
#pragma once

#include <memory>

#include "format/exact_codec.h"
#include "format/index.h"
#include "format/neural_chunk.h"
#include "format/stream_codec.h"

namespace nwc {

// The codec of a tensor: `stream` for stream, `neural` for nwc, neither for raw and exact.
struct ChunkCodec {
  ChunkCodec() = default;
  ChunkCodec(std::nullptr_t) {}                                                     // NOLINT
  ChunkCodec(std::shared_ptr<const StreamTables> s) : stream(std::move(s)) {}       // NOLINT
  ChunkCodec(std::shared_ptr<const NeuralDecodeCodec> n) : neural(std::move(n)) {}  // NOLINT
  std::shared_ptr<const StreamTables> stream;
  std::shared_ptr<const NeuralDecodeCodec> neural;
};

class ChunkDecoder {
 public:
  // `side` is the tensor's side information as stored (empty for raw and exact); its hash is
  // checked (R21), then its form (R22). `tensor` must outlive the decoder. kInternal when `codec`
  // lacks what the profile needs.
  static Result<ChunkDecoder> Create(const TensorInfo& tensor, ByteSpan side, ChunkCodec codec,
                                     Simd simd = BestSimd());

  // Writes tile `chunk_number` of the tensor into `tensor_out`, the whole tensor's decoded_bytes(),
  // row-major. Different chunks write different bytes, so calls may run in parallel.
  Status Decode(size_t chunk_number, ByteSpan chunk, MutableByteSpan tensor_out) const;

  // The same into a buffer of just that tile, rows packed.
  Status DecodeTile(size_t chunk_number, ByteSpan chunk, MutableByteSpan tile_out) const;

  // The same into rows of `row_stride_bytes`, the first beginning at `out`. The tiles of raw and
  // exact span all columns: their rows must be packed.
  Status DecodeTo(size_t chunk_number, ByteSpan chunk, uint8_t* out, size_t row_stride_bytes) const;

  // R20.
  Status CheckHash(size_t chunk_number, ByteSpan chunk) const;

 private:
  const TensorInfo* tensor_ = nullptr;
  std::shared_ptr<const StreamDecoder> stream_;
  std::shared_ptr<const NeuralDecoder> neural_;
  Simd simd_ = Simd::kScalar;
};

}  // namespace nwc
