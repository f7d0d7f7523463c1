#include "loader/tensor_assembly.h"

namespace nwc {
namespace {

constexpr size_t kMaxNameInMessage = 200;
constexpr const char* kDamaged = "the file is damaged: fetch it again";

std::string Range(const char* what, uint64_t begin, uint64_t end) {
  return std::string(what) + " " + std::to_string(begin) + ".." + std::to_string(end);
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
  auto bytes = AlignedBuffer::Allocate(info_->decoded_bytes());
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

Status TensorAssembly::DecodeChunk(size_t chunk_number, ByteSpan chunk) {
  const uint64_t expected = info_->chunks[chunk_number].hash;
  if (settings_->verify) {
    if (const uint64_t hash = Hash64(chunk); hash != expected) {
      return Status::Corrupt(20, WhereChunk(chunk_number) + ": hash " + ToHex(hash) +
                                     ", expected " + ToHex(expected) + "; " + kDamaged);
    }
  }
  const Status status = decoder_->Decode(chunk_number, chunk, bytes_.mutable_span());
  return status.ok() ? status : status.WithContext(WhereChunk(chunk_number));
}

Status TensorAssembly::CheckWhole() const {
  if (!settings_->verify_decoded) return {};
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
