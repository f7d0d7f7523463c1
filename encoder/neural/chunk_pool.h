// The training data: chunks of normalised weights sampled from checkpoints.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/tensor_source.h"
#include "format/status.h"

namespace nwc {

// Chunks one after the other, `chunk` floats each. A chunk's hash decides whether it validates (one
// in kValidationShare) and whether it is in the sample, so both are the same in every run.
struct ChunkPool {
  std::vector<float> training, validation;
  uint64_t fingerprint = 0;  // of both
};

inline constexpr uint64_t kValidationShare = 32;

// About `weights` weights of the linear tensors, all of them alike. Columns are divided by their
// coded scale (ChooseNeuralScales); the last weights of a column that fill no chunk, chunks of
// zeros and chunks with a value that is not finite or beyond 32 deviations are left out. kUsage
// when nothing is left.
Result<ChunkPool> CollectChunks(const std::vector<const TensorSource*>& sources, size_t chunk,
                                uint64_t weights);

}  // namespace nwc
