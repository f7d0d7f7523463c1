// A tensor coded and checked, ready for ContainerWriter::AddTensor.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/worker_pool.h"
#include "format/format.h"

namespace nwc {

inline constexpr uint64_t kChunkEntryBytes = 24;  // of a chunk in the index

struct CodedTensor {
  TensorInfo info;  // without chunks and extents
  std::vector<uint8_t> side;
  std::vector<std::vector<uint8_t>> chunks;  // in grid order
  double relative_mse = 0;                   // squared error / squared norm; lossy profiles
  double kl =
      0;  // second-order estimate of the KL divergence it causes, nats a token; 0 if unknown
};

// `elements` as `exact`, or as `raw` where entropy coding does not pay or info says so.
CodedTensor CodeLossless(TensorInfo info, ByteSpan elements, WorkerPool* pool);

// The whole tensor, as a reader decodes it. `codec` as ChunkDecoder::Create wants it.
Result<std::vector<uint8_t>> DecodeTensor(const CodedTensor& tensor, const ChunkCodec& codec,
                                          WorkerPool* pool);

// Decodes every chunk with the decoder users have and compares with what it must give. `codec` as
// ChunkDecoder::Create wants it.
Status CheckRoundTrip(const CodedTensor& tensor, ByteSpan decoded, const ChunkCodec& codec,
                      WorkerPool* pool);

}  // namespace nwc
