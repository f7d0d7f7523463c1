#include "loader/tensor_assembly.h"

#include <algorithm>

namespace nwc {
namespace {

constexpr size_t kMaxNameInMessage = 200;
constexpr const char* kDamaged = "the file is damaged: fetch it again";

std::string Range(const char* what, uint64_t begin, uint64_t end) {
  return std::string(what) + " " + std::to_string(begin) + ".." + std::to_string(end);
}

TileRange Overlap(const TileRange& tile, const TensorSlice& slice) {
  return {std::max(tile.row_begin, slice.row_begin), std::min(tile.row_end, slice.row_end),
          std::max(tile.column_begin, slice.column_begin),
          std::min(tile.column_end, slice.column_end)};
}

Status GrowTo(size_t size_bytes, AlignedBuffer* buffer) {
  if (buffer->size() >= size_bytes) return {};
  *buffer = {};  // frees it first
  NWC_ASSIGN_OR_RETURN(*buffer, AlignedBuffer::Allocate(size_bytes));
  return {};
}

}  // namespace

std::string TensorAssembly::Where() const {
  return settings_->file_name + ": tensor '" + info_->name.substr(0, kMaxNameInMessage) + "'";
}

std::string TensorAssembly::WhereChunk(size_t chunk_number) const {
  const TileRange tile = info_->Tile(chunk_number);
  return Where() + " chunk " + std::to_string(chunk_number) + " (" +
         Range("rows", tile.row_begin, tile.row_end) + ", " +
         Range("columns", tile.column_begin, tile.column_end) + ") at byte " +
         std::to_string(info_->chunks[chunk_number].offset);
}

Status TensorAssembly::Prepare() {
  auto bytes = AlignedBuffer::Allocate(slice_.weights() * DTypeSize(info_->dtype));
  if (!bytes.ok()) return bytes.status().WithContext(Where());
  bytes_ = std::move(*bytes);
  if (info_->side() != nullptr) return {};
  auto decoder = ChunkDecoder::Create(*info_, {}, nullptr, settings_->simd);
  if (!decoder.ok()) return decoder.status().WithContext(Where());
  decoder_ = std::move(*decoder);
  return {};
}

Status TensorAssembly::AcceptSideInfo(ByteSpan side) {
  const uint64_t expected = info_->side()->hash;
  const std::string where =
      Where() + " side information at byte " + std::to_string(info_->side()->offset);
  if (settings_->verify) {
    if (const uint64_t hash = Hash64(side); hash != expected) {
      return Status::Corrupt(
          21, where + ": hash " + ToHex(hash) + ", expected " + ToHex(expected) + "; " + kDamaged);
    }
  }
  auto decoder = ChunkDecoder::Create(*info_, side, codec_, settings_->simd);
  if (!decoder.ok()) return decoder.status().WithContext(where);
  decoder_ = std::move(*decoder);
  return {};
}

Status TensorAssembly::DecodeWanted(size_t chunk_number, ByteSpan chunk, AlignedBuffer* scratch) {
  const TileRange tile = info_->Tile(chunk_number);
  const TileRange wanted = Overlap(tile, slice_);
  const size_t size = DTypeSize(info_->dtype);
  const size_t stride = slice_.columns() * size;
  uint8_t* out = bytes_.data() + (wanted.row_begin - slice_.row_begin) * stride +
                 (wanted.column_begin - slice_.column_begin) * size;
  if (wanted.weights() == tile.weights()) {
    return decoder_->DecodeTo(chunk_number, chunk, out, stride);
  }
  const size_t tile_bytes = tile.weights() * size;
  const uint8_t* decoded = chunk.data();  // a raw chunk is the tile
  if (info_->profile() != Profile::kRaw) {
    NWC_RETURN_IF_ERROR(GrowTo(tile_bytes, scratch));
    NWC_RETURN_IF_ERROR(
        decoder_->DecodeTile(chunk_number, chunk, scratch->mutable_span().first(tile_bytes)));
    decoded = scratch->data();
  }
  for (uint64_t row = wanted.row_begin; row < wanted.row_end; ++row, out += stride) {
    const uint64_t at =
        (row - tile.row_begin) * tile.columns() + wanted.column_begin - tile.column_begin;
    std::memcpy(out, decoded + at * size, wanted.columns() * size);
  }
  return {};
}

Status TensorAssembly::DecodeChunk(size_t chunk_number, ByteSpan chunk, AlignedBuffer* scratch) {
  const uint64_t expected = info_->chunks[chunk_number].hash;
  if (settings_->verify) {
    if (const uint64_t hash = Hash64(chunk); hash != expected) {
      return Status::Corrupt(20, WhereChunk(chunk_number) + ": hash " + ToHex(hash) +
                                     ", expected " + ToHex(expected) + "; " + kDamaged);
    }
  }
  const Status status = DecodeWanted(chunk_number, chunk, scratch);
  return status.ok() ? status : status.WithContext(WhereChunk(chunk_number));
}

Status TensorAssembly::CheckWhole() const {
  if (!settings_->verify_decoded || slice_ != WholeSlice(*info_)) return {};
  const Hash128 hash = Hash128Of(bytes_.span());
  if (hash == info_->decoded_hash) return {};
  return Status::Corrupt(29, Where() + ": decoded bytes hash to " + ToHex(hash) + ", expected " +
                                 ToHex(info_->decoded_hash));
}

AlignedBuffer TensorAssembly::TakeBytes() {
  decoder_.reset();
  return std::move(bytes_);
}

}  // namespace nwc
