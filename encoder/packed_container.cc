#include "encoder/packed_container.h"

#include <algorithm>
#include <array>
#include <utility>

namespace nwc {
namespace {

// `side` with other gains; gains of 0 are none.
std::vector<uint8_t> SetGains(SideInfo side, std::span<const int16_t> gains, StreamInfo* stream) {
  stream->row_gains = std::any_of(gains.begin(), gains.end(), [](int16_t g) { return g != 0; });
  side.row_gain.clear();
  if (stream->row_gains) side.row_gain.assign(gains.begin(), gains.end());
  std::vector<uint8_t> bytes = SerializeSideInfo(side);
  stream->side.hash = Hash64(bytes);
  return bytes;
}

Result<SideInfo> SideOf(const TensorInfo& info, ByteSpan side) {
  return ParseSideInfo(side, info.rows, info.columns, info.stream->scale, info.stream->row_gains);
}

}  // namespace

Result<std::unique_ptr<PackedContainer>> PackedContainer::Open(RangeReader read,
                                                               uint64_t file_bytes, int threads) {
  auto container = std::unique_ptr<PackedContainer>(new PackedContainer(std::move(read), threads));
  NWC_RETURN_IF_ERROR(container->Load(file_bytes));
  return container;
}

Status PackedContainer::Load(uint64_t file_bytes) {
  std::array<uint8_t, kSuperblockSize> block{};
  if (file_bytes >= block.size()) NWC_RETURN_IF_ERROR(read_(0, block));
  NWC_ASSIGN_OR_RETURN(const Superblock superblock, ParseSuperblock(block, file_bytes));
  NWC_ASSIGN_OR_RETURN(const auto bytes, Bytes(superblock.index_offset, superblock.index_size));
  NWC_ASSIGN_OR_RETURN(index_, ParseIndex(bytes, superblock));
  for (const TensorInfo& t : index_.tensors) {
    tensors_.push_back({t.name, t.dtype, t.shape, t.shard});
  }
  for (const CodecInfo& codec : index_.codecs) {
    tables_.push_back(std::make_shared<const StreamTables>(codec.tables));
  }
  for (const NeuralCodecInfo& info : index_.neural_codecs) {
    NWC_ASSIGN_OR_RETURN(const auto codec, Bytes(info.extent.offset, info.extent.size));
    NWC_ASSIGN_OR_RETURN(NeuralCodec parsed, ReadNeuralCodec(info, codec));
    neural_decode_.push_back(std::make_shared<const NeuralDecodeCodec>(parsed));
    neural_.push_back(std::move(parsed));
  }
  return {};
}

Result<std::vector<uint8_t>> PackedContainer::Bytes(uint64_t offset, uint64_t size) const {
  std::vector<uint8_t> bytes(size);
  NWC_RETURN_IF_ERROR(read_(offset, bytes));
  return bytes;
}

Result<PackedContainer::Stored> PackedContainer::ReadStored(size_t tensor) const {
  Stored stored;
  stored.info = index_.tensors[tensor];
  if (const Extent* side = stored.info.side()) {
    NWC_ASSIGN_OR_RETURN(stored.side, Bytes(side->offset, side->size));
  }
  for (const Chunk& chunk : stored.info.chunks) {
    NWC_ASSIGN_OR_RETURN(auto bytes, Bytes(chunk.offset, chunk.size));
    stored.chunks.push_back(std::move(bytes));
  }
  return stored;
}

Status PackedContainer::Decode(const Stored& stored, MutableByteSpan destination) const {
  ChunkCodec codec;
  if (stored.info.stream) codec = tables_[stored.info.stream->codec];
  if (stored.info.neural) codec = neural_decode_[stored.info.neural->codec];
  NWC_ASSIGN_OR_RETURN(const ChunkDecoder decoder,
                       ChunkDecoder::Create(stored.info, stored.side, std::move(codec)));
  std::vector<Status> failed(stored.chunks.size());
  const std::lock_guard lock(pool_in_use_);
  pool_.ParallelFor(stored.chunks.size(), [&](size_t i) {
    failed[i] = decoder.CheckHash(i, stored.chunks[i]);
    if (failed[i].ok()) failed[i] = decoder.Decode(i, stored.chunks[i], destination);
  });
  for (Status& s : failed) NWC_RETURN_IF_ERROR(std::move(s));
  return {};
}

Status PackedContainer::Read(size_t tensor, MutableByteSpan destination) const {
  NWC_ASSIGN_OR_RETURN(const Stored stored, ReadStored(tensor));
  return Decode(stored, destination);
}

bool PackedContainer::HasRowGains(size_t tensor) const {
  const TensorInfo& info = index_.tensors[tensor];
  return info.supported() && info.profile() == Profile::kStream;
}

Status PackedContainer::ReadScaled(size_t tensor, std::span<const int16_t> gains,
                                   MutableByteSpan destination) const {
  NWC_ASSIGN_OR_RETURN(Stored stored, ReadStored(tensor));
  NWC_ASSIGN_OR_RETURN(SideInfo side, SideOf(stored.info, stored.side));
  stored.side = SetGains(std::move(side), gains, &*stored.info.stream);
  return Decode(stored, destination);
}

Status PackedContainer::CopyFiles(ContainerWriter* writer) const {
  for (const FileInfo& file : index_.files) {
    NWC_ASSIGN_OR_RETURN(const auto content, Bytes(file.extent.offset, file.extent.size));
    NWC_RETURN_IF_ERROR(writer->AddFile(file.name, content));
  }
  return {};
}

Status PackedContainer::CopyOuter(ContainerWriter* writer) const {
  NWC_RETURN_IF_ERROR(CopyFiles(writer));
  for (const ShardInfo& shard : index_.shards) writer->AddShard(shard);
  for (const CodecInfo& codec : index_.codecs) writer->AddCodec(codec);
  for (const NeuralCodec& codec : neural_) {
    NWC_ASSIGN_OR_RETURN([[maybe_unused]] const uint16_t at, writer->AddNeuralCodec(codec));
  }
  writer->SetProducer(index_.producer);
  writer->SetOptions(index_.options);
  return {};
}

Status PackedContainer::CopyTensor(size_t tensor, const Recovered& changes,
                                   ContainerWriter* writer) const {
  NWC_ASSIGN_OR_RETURN(Stored stored, ReadStored(tensor));
  if (const auto gains = changes.gains.find(stored.info.name); gains != changes.gains.end()) {
    NWC_ASSIGN_OR_RETURN(SideInfo side, SideOf(stored.info, stored.side));
    stored.side = SetGains(std::move(side), gains->second, &*stored.info.stream);
    std::vector<uint8_t> decoded(stored.info.decoded_bytes());
    NWC_RETURN_IF_ERROR(Decode(stored, decoded));
    stored.info.decoded_hash = Hash128Of(decoded);
  }
  if (const auto values = changes.vectors.find(stored.info.name); values != changes.vectors.end()) {
    stored.info.chunks.clear();
    const std::lock_guard lock(pool_in_use_);
    CodedTensor coded = CodeLossless(std::move(stored.info), values->second, &pool_);
    return writer->AddTensor(std::move(coded.info), {}, coded.chunks);
  }
  return writer->AddTensor(std::move(stored.info), stored.side, stored.chunks);
}

Result<Index> PackedContainer::Rewrite(const Recovered& changes, ByteSink* sink) const {
  ContainerWriter writer(sink);
  NWC_RETURN_IF_ERROR(CopyOuter(&writer));
  for (size_t i = 0; i < tensors_.size(); ++i) {
    NWC_RETURN_IF_ERROR(CopyTensor(i, changes, &writer));
  }
  NWC_RETURN_IF_ERROR(writer.Finish());
  return writer.index();
}

Result<Index> PackedContainer::WritePart(const ContainerPart& part, ByteSink* sink) const {
  ContainerWriter writer(sink);
  if (part.files) NWC_RETURN_IF_ERROR(CopyFiles(&writer));
  for (const ShardInfo& shard : index_.shards) writer.AddShard(shard);
  writer.SetProducer(index_.producer);
  writer.SetOptions(part.options);
  std::vector<bool> stream(tables_.size()), neural(neural_.size());  // needed or not
  for (const size_t i : part.tensors) {
    const TensorInfo& info = index_.tensors[i];
    if (info.stream) stream[info.stream->codec] = true;
    if (info.neural) neural[info.neural->codec] = true;
  }
  std::vector<uint16_t> stream_at(tables_.size()), neural_at(neural_.size());
  for (size_t i = 0; i < stream.size(); ++i) {
    if (stream[i]) stream_at[i] = writer.AddCodec(index_.codecs[i]);
  }
  for (size_t i = 0; i < neural.size(); ++i) {
    if (!neural[i]) continue;
    NWC_ASSIGN_OR_RETURN(neural_at[i], writer.AddNeuralCodec(neural_[i]));
  }
  for (const size_t i : part.tensors) {
    NWC_ASSIGN_OR_RETURN(Stored stored, ReadStored(i));
    if (stored.info.stream) stored.info.stream->codec = stream_at[stored.info.stream->codec];
    if (stored.info.neural) stored.info.neural->codec = neural_at[stored.info.neural->codec];
    NWC_RETURN_IF_ERROR(writer.AddTensor(std::move(stored.info), stored.side, stored.chunks));
  }
  NWC_RETURN_IF_ERROR(writer.Finish());
  return writer.index();
}

}  // namespace nwc
