// Where the time of a `stream` decode goes on one core, stage by stage, beside the copying of the
// decoded bytes.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "format/stream_codec.h"
#include "tools/bench_decode.h"

namespace nwc {

struct StageSpeed {
  double seconds = 0;  // of one run with all stages before it: the median
  double fastest_seconds = 0;
};

struct StageSpeeds {
  DType dtype = DType::kBF16;
  uint64_t weights = 0, decoded_bytes = 0;
  double hertz = 0;  // of the core, as a chain of additions shows it
  std::array<StageSpeed, kStreamStageCount> stages;
  StageSpeed copy;  // memcpy of as many bytes
};

// Measures on the first stream tensors of the sample, all of one dtype, about ten milliseconds'
// worth; stages alternate. Nothing where there are none or no vector code.
Result<std::optional<StageSpeeds>> MeasureStages(std::vector<PackedTensorBytes>* sample);

// A table for a person to read.
std::string FormatStages(const StageSpeeds& speeds);

}  // namespace nwc
