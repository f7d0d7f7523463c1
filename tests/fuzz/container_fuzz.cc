// A whole container: superblock, index, every chunk. The fuzzer cannot guess hashes, so the target
// mends those of the superblock and the index before it parses; chunk hashes are not asked for.
#include <algorithm>
#include <cstdlib>

#include "format/format.h"

namespace nwc {
namespace {

// Keep a run short; larger tensors and nets are left out.
constexpr uint64_t kMostDecoded = 1 << 20;
constexpr uint64_t kMostDecodedByNet = 1 << 14;
constexpr uint64_t kMostParameters = 1 << 12;

void MendHashes(std::vector<uint8_t>* file) {
  Superblock s;
  s.required_features = LoadLittle<uint32_t>(&(*file)[12]) & (kNeuralFeature | kRowGainFeature);
  s.file_size = file->size();
  s.index_offset = LoadLittle<uint64_t>(&(*file)[24]);
  s.index_size = LoadLittle<uint64_t>(&(*file)[32]);
  if (s.index_offset > file->size() || s.index_size > file->size() - s.index_offset) return;
  s.root_hash = Hash128Of(ByteSpan(*file).subspan(s.index_offset, s.index_size));
  const auto block = SerializeSuperblock(s);
  std::copy(block.begin(), block.end(), file->begin());
}

// Null where it is malformed.
ChunkCodec CodecOf(ByteSpan file, const TensorInfo& tensor, const Index& index) {
  if (tensor.stream) {
    return std::make_shared<const StreamTables>(index.codecs[tensor.stream->codec].tables);
  }
  if (!tensor.neural) return nullptr;
  NeuralCodecInfo info = index.neural_codecs[tensor.neural->codec];
  const ByteSpan bytes = file.subspan(info.extent.offset, info.extent.size);
  info.extent.hash = Hash64(bytes);
  const auto codec = ReadNeuralCodec(info, bytes);
  if (!codec.ok() || codec->parameter_count() > kMostParameters) return nullptr;
  return std::make_shared<const NeuralDecodeCodec>(*codec);
}

void DecodeTensor(ByteSpan file, const TensorInfo& tensor, const Index& index) {
  if (!tensor.supported()) return;
  if (tensor.decoded_bytes() > (tensor.neural ? kMostDecodedByNet : kMostDecoded)) return;
  ByteSpan side;
  TensorInfo mended = tensor;
  if (tensor.side() != nullptr) {
    side = file.subspan(tensor.side()->offset, tensor.side()->size);
    (mended.stream ? mended.stream->side : mended.neural->side).hash = Hash64(side);
  }
  const auto decoder = ChunkDecoder::Create(mended, side, CodecOf(file, tensor, index));
  if (!decoder.ok()) return;
  std::vector<uint8_t> out(tensor.decoded_bytes());
  for (size_t i = 0; i < tensor.chunks.size(); ++i) {
    (void)decoder->Decode(i, file.subspan(tensor.chunks[i].offset, tensor.chunks[i].size), out)
        .ok();
  }
}

}  // namespace
}  // namespace nwc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  std::vector<uint8_t> file(data, data + size);
  if (file.size() >= kSuperblockSize) MendHashes(&file);
  const ByteSpan bytes(file);
  const auto superblock = ParseSuperblock(bytes.first(std::min<size_t>(size, 4096)), size);
  if (!superblock.ok()) return 0;
  // An aligned copy, as loaders make.
  std::vector<uint64_t> storage(superblock->index_size / 8 + 1);
  auto* copy = reinterpret_cast<uint8_t*>(storage.data());
  std::copy_n(&file[superblock->index_offset], superblock->index_size, copy);
  const auto index = ParseIndex({copy, superblock->index_size}, *superblock);
  if (!index.ok()) return 0;
  for (const TensorInfo& t : index->tensors) DecodeTensor(bytes, t, *index);
  return 0;
}
