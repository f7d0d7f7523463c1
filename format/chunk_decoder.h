// One door to all profiles: decodes any chunk of a tensor. Immutable, shared by threads.
#pragma once

#include <memory>

#include "format/exact_codec.h"
#include "format/index.h"
#include "format/stream_codec.h"

namespace nwc {

class ChunkDecoder {
 public:
  // `side` is the tensor's side information as stored (empty unless the profile is stream); its
  // hash is checked (R21). `tensor` must outlive the decoder. `tables` is the tensor's codec, or
  // null.
  static Result<ChunkDecoder> Create(const TensorInfo& tensor, ByteSpan side,
                                     std::shared_ptr<const StreamTables> tables,
                                     Simd simd = BestSimd());

  // Writes tile `chunk_number` of the tensor into `tensor_out`, the whole tensor's decoded_bytes(),
  // row-major. Different chunks write different bytes, so calls may run in parallel.
  Status Decode(size_t chunk_number, ByteSpan chunk, MutableByteSpan tensor_out) const;

  // The same into a buffer of just that tile, rows packed.
  Status DecodeTile(size_t chunk_number, ByteSpan chunk, MutableByteSpan tile_out) const;

  // R20.
  Status CheckHash(size_t chunk_number, ByteSpan chunk) const;

 private:
  Status DecodeTo(size_t chunk_number, ByteSpan chunk, uint8_t* out, size_t row_stride) const;
  const TensorInfo* tensor_ = nullptr;
  std::shared_ptr<const StreamDecoder> stream_;
  Simd simd_ = Simd::kScalar;
};

}  // namespace nwc
