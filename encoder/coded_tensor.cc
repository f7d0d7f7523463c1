#include "encoder/coded_tensor.h"

#include <string>

#include "encoder/policy.h"
#include "encoder/stream_encoder.h"

namespace nwc {
namespace {

template <typename Coder>
std::vector<std::vector<uint8_t>> CodeTiles(const TensorInfo& info, ByteSpan elements,
                                            WorkerPool* pool, const Coder& coder) {
  const size_t count = info.weights() == 0 ? 0 : info.grid_rows() * info.grid_columns();
  std::vector<std::vector<uint8_t>> chunks(count);
  pool->ParallelFor(count,
                    [&](size_t i) { chunks[i] = coder(CopyTile(info, info.Tile(i), elements)); });
  return chunks;
}

// As a decoder wants it, which looks at the number of chunks.
TensorInfo WithChunks(const CodedTensor& tensor) {
  TensorInfo info = tensor.info;
  info.chunks.resize(tensor.chunks.size());
  return info;
}

}  // namespace

CodedTensor CodeLossless(TensorInfo info, ByteSpan elements, WorkerPool* pool) {
  CodedTensor coded;
  info.decoded_hash = Hash128Of(elements);
  if (info.profile() == Profile::kExact) {
    coded.chunks = CodeTiles(info, elements, pool, [&](const std::vector<uint8_t>& tile) {
      return EncodeExactChunk(tile, info.dtype);
    });
    uint64_t bytes = 0;
    for (const auto& c : coded.chunks) bytes += c.size();
    coded.info = info;
    if (bytes + kChunkEntryBytes * coded.chunks.size() < elements.size()) return coded;
    // Entropy coding does not pay: bytes as they are.
    info.profile_value = static_cast<uint8_t>(Profile::kRaw);
    ChooseTiles(Profile::kRaw, &info);
  }
  coded.info = info;
  coded.chunks = CodeTiles(info, elements, pool, [](std::vector<uint8_t> tile) { return tile; });
  return coded;
}

Result<std::vector<uint8_t>> DecodeTensor(const CodedTensor& tensor, const ChunkCodec& codec,
                                          WorkerPool* pool) {
  const TensorInfo info = WithChunks(tensor);
  NWC_ASSIGN_OR_RETURN(const ChunkDecoder decoder, ChunkDecoder::Create(info, tensor.side, codec));
  std::vector<uint8_t> decoded(tensor.info.decoded_bytes());
  std::vector<Status> failed(tensor.chunks.size());
  pool->ParallelFor(tensor.chunks.size(),
                    [&](size_t i) { failed[i] = decoder.Decode(i, tensor.chunks[i], decoded); });
  for (Status& s : failed) NWC_RETURN_IF_ERROR(std::move(s));
  return decoded;
}

Status CheckRoundTrip(const CodedTensor& tensor, ByteSpan decoded, const ChunkCodec& codec,
                      WorkerPool* pool) {
  const TensorInfo info = WithChunks(tensor);
  NWC_ASSIGN_OR_RETURN(const ChunkDecoder decoder, ChunkDecoder::Create(info, tensor.side, codec));
  std::vector<Status> failed(tensor.chunks.size());
  pool->ParallelFor(tensor.chunks.size(), [&](size_t i) {
    const std::vector<uint8_t> wanted = CopyTile(tensor.info, tensor.info.Tile(i), decoded);
    std::vector<uint8_t> tile(wanted.size());
    failed[i] = decoder.DecodeTile(i, tensor.chunks[i], tile);
    if (failed[i].ok() && tile != wanted) {
      failed[i] = Status(ErrorCode::kInternal,
                         "chunk " + std::to_string(i) + " does not decode to what was coded");
    }
  });
  for (Status& s : failed) NWC_RETURN_IF_ERROR(std::move(s));
  return {};
}

}  // namespace nwc
