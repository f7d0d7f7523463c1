// Order of bytes: superblock (zero until Finish), files, neural codecs, then per tensor side
// information and chunks, index. Every byte range is hashed as it is appended.
#include "format/writer.h"

#include <array>

namespace nwc {

ContainerWriter::ContainerWriter(ByteSink* sink) : sink_(sink) {}

Status ContainerWriter::Append(ByteSpan bytes) {
  if (!begun_) {
    begun_ = true;
    const std::array<uint8_t, kSuperblockSize> zeros{};
    NWC_RETURN_IF_ERROR(sink_->Append(zeros));
    offset_ = kSuperblockSize;
  }
  NWC_RETURN_IF_ERROR(sink_->Append(bytes));
  offset_ += bytes.size();
  return {};
}

Status ContainerWriter::PadTo(uint64_t alignment) {
  static constexpr std::array<uint8_t, kPageBytes> kZeros{};
  const uint64_t at = begun_ ? offset_ : kSuperblockSize;
  return Append({kZeros.data(), static_cast<size_t>(AlignUp(at, alignment) - at)});
}

Result<Extent> ContainerWriter::AppendExtent(ByteSpan bytes) {
  NWC_RETURN_IF_ERROR(PadTo(kPayloadAlignment));
  const Extent extent{offset_, bytes.size(), Hash64(bytes)};
  NWC_RETURN_IF_ERROR(Append(bytes));
  return extent;
}

Status ContainerWriter::AddFile(std::string name, ByteSpan content) {
  assert(index_.tensors.empty() && index_.neural_codecs.empty());
  NWC_ASSIGN_OR_RETURN(const Extent extent, AppendExtent(content));
  index_.files.push_back({std::move(name), extent});
  return {};
}

uint16_t ContainerWriter::AddCodec(CodecInfo codec) {
  index_.codecs.push_back(std::move(codec));
  return static_cast<uint16_t>(index_.codecs.size() - 1);
}

uint16_t ContainerWriter::AddShard(ShardInfo shard) {
  index_.shards.push_back(std::move(shard));
  return static_cast<uint16_t>(index_.shards.size() - 1);
}

Result<uint16_t> ContainerWriter::AddNeuralCodec(const NeuralCodec& codec) {
  assert(index_.tensors.empty());
  NWC_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, SerializeNeuralCodec(codec));
  NWC_RETURN_IF_ERROR(PadTo(bytes.size() >= kLargeTensorBytes ? kPageBytes : kPayloadAlignment));
  NeuralCodecInfo info;
  static_cast<NeuralSettings&>(info) = codec;
  info.name = codec.name;
  NWC_ASSIGN_OR_RETURN(info.extent, AppendExtent(bytes));
  index_.neural_codecs.push_back(std::move(info));
  return static_cast<uint16_t>(index_.neural_codecs.size() - 1);
}

Status ContainerWriter::AddTensor(TensorInfo tensor, ByteSpan side,
                                  std::span<const std::vector<uint8_t>> chunks) {
  uint64_t total = side.size();
  for (const auto& chunk : chunks) total += chunk.size();
  NWC_RETURN_IF_ERROR(PadTo(total >= kLargeTensorBytes ? kPageBytes : kPayloadAlignment));
  if (tensor.stream) {
    NWC_ASSIGN_OR_RETURN(tensor.stream->side, AppendExtent(side));
  } else if (tensor.neural) {
    NWC_ASSIGN_OR_RETURN(tensor.neural->side, AppendExtent(side));
  }
  tensor.chunks.clear();
  for (const auto& chunk : chunks) {
    if (chunk.size() > UINT32_MAX) {
      return Status(ErrorCode::kInternal, "a chunk of '" + tensor.name + "' exceeds 4 GiB");
    }
    NWC_ASSIGN_OR_RETURN(const Extent extent, AppendExtent(chunk));
    tensor.chunks.push_back({extent.offset, extent.hash, static_cast<uint32_t>(extent.size)});
  }
  index_.tensors.push_back(std::move(tensor));
  return {};
}

Status ContainerWriter::Finish() {
  NWC_RETURN_IF_ERROR(PadTo(8));
  Superblock superblock;
  superblock.required_features = FeaturesOf(index_);
  superblock.index_offset = offset_;
  const std::vector<uint8_t> bytes = SerializeIndex(index_);
  if (bytes.size() > kMaxIndexBytes) {
    return Status(ErrorCode::kUsage, "the index would exceed 1 GiB: use larger tiles or shards");
  }
  NWC_RETURN_IF_ERROR(Append(bytes));
  superblock.index_size = bytes.size();
  superblock.file_size = offset_;
  superblock.root_hash = Hash128Of(bytes);
  // Never publish what our own reader would refuse.
  if (const auto parsed = ParseIndex(bytes, superblock); !parsed.ok()) {
    return Status(ErrorCode::kInternal, "wrote an invalid index: " + parsed.status().ToString());
  }
  return sink_->Commit(SerializeSuperblock(superblock));
}

}  // namespace nwc
