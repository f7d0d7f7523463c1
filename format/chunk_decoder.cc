#include "format/chunk_decoder.h"

#include <cstring>

namespace nwc {

Result<ChunkDecoder> ChunkDecoder::Create(const TensorInfo& tensor, ByteSpan side, ChunkCodec codec,
                                          Simd simd) {
  ChunkDecoder decoder;
  decoder.tensor_ = &tensor;
  decoder.simd_ = simd;
  if (!tensor.supported()) {
    return Status(ErrorCode::kUnsupported, "profile " + std::to_string(tensor.profile_value) +
                                               " is newer than this build: update nwc");
  }
  const bool stream = tensor.profile() == Profile::kStream;
  if (!stream && tensor.profile() != Profile::kNwc) return decoder;
  if (stream ? codec.stream == nullptr : codec.neural == nullptr) {
    return Status(ErrorCode::kInternal, "a tensor needs its codec");
  }
  const uint64_t expected = tensor.side()->hash;
  if (const uint64_t found = Hash64(side); found != expected) {
    return Status::Corrupt(
        21, "side information hash is " + ToHex(found) + ", expected " + ToHex(expected));
  }
  if (stream) {
    NWC_ASSIGN_OR_RETURN(SideInfo parsed,
                         ParseSideInfo(side, tensor.rows, tensor.columns, tensor.stream->scale,
                                       tensor.stream->row_gains));
    decoder.stream_ =
        std::make_shared<StreamDecoder>(tensor, std::move(parsed), std::move(codec.stream));
    return decoder;
  }
  NWC_ASSIGN_OR_RETURN(
      NeuralSideInfo parsed,
      ParseNeuralSideInfo(side, tensor.columns, codec.neural->synthesis.settings().qualities,
                          tensor.neural->scale));
  decoder.neural_ =
      std::make_shared<NeuralDecoder>(tensor, std::move(parsed), std::move(codec.neural));
  return decoder;
}

Status ChunkDecoder::DecodeTo(size_t chunk_number, ByteSpan chunk, uint8_t* out,
                              size_t row_stride) const {
  const TileRange tile = tensor_->Tile(chunk_number);
  const size_t bytes = tile.weights() * DTypeSize(tensor_->dtype);
  switch (tensor_->profile()) {
    case Profile::kRaw:
      if (chunk.size() != bytes) return Status::Corrupt(16, "raw chunk has a wrong size");
      std::memcpy(out, chunk.data(), bytes);
      return {};
    case Profile::kExact:
      return DecodeExactChunk(chunk, tensor_->dtype, {out, bytes}, simd_);
    case Profile::kStream:
      return stream_->Decode(chunk, tile, out, row_stride, simd_);
    case Profile::kNwc:
      return neural_->Decode(chunk, tile, out, row_stride, simd_);
  }
  return Status(ErrorCode::kInternal, "unknown profile");
}

Status ChunkDecoder::Decode(size_t chunk_number, ByteSpan chunk, MutableByteSpan tensor_out) const {
  assert(chunk_number < tensor_->chunks.size() && tensor_out.size() == tensor_->decoded_bytes());
  const TileRange tile = tensor_->Tile(chunk_number);
  const size_t size = DTypeSize(tensor_->dtype);
  const size_t stride = tensor_->columns * size;
  return DecodeTo(chunk_number, chunk,
                  tensor_out.data() + tile.row_begin * stride + tile.column_begin * size, stride);
}

Status ChunkDecoder::DecodeTile(size_t chunk_number, ByteSpan chunk,
                                MutableByteSpan tile_out) const {
  const TileRange tile = tensor_->Tile(chunk_number);
  assert(tile_out.size() == tile.weights() * DTypeSize(tensor_->dtype));
  return DecodeTo(chunk_number, chunk, tile_out.data(), tile.columns() * DTypeSize(tensor_->dtype));
}

Status ChunkDecoder::CheckHash(size_t chunk_number, ByteSpan chunk) const {
  const uint64_t expected = tensor_->chunks[chunk_number].hash;
  const uint64_t found = Hash64(chunk);
  if (found == expected) return {};
  return Status::Corrupt(20, "chunk hash is " + ToHex(found) + ", expected " + ToHex(expected));
}

}  // namespace nwc
