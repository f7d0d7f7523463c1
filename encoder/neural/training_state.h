// The bytes of a training run that was interrupted.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "encoder/neural_training.h"
#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

struct TrainingState {
  std::string identity;  // options and data it belongs to
  uint64_t step = 0;     // steps done
  std::vector<NeuralValidation> curve;
  std::array<double, 3> sums{};  // of the log line that has begun
  std::vector<float> values;     // parameters and moments
};

// Ends in an XXH3-64 of all before it. For the machine that wrote it: no promise across versions.
std::vector<uint8_t> SerializeTrainingState(const TrainingState& state);

// kCorrupt when the hash or a size does not match.
Result<TrainingState> ParseTrainingState(ByteSpan bytes);

}  // namespace nwc
