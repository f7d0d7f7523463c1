// Learns the entropy tables of a `stream` codec from pretrained weights: search with the current
// tables, count indices, renew the tables, again.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "encoder/rate_control.h"
#include "encoder/tensor_source.h"
#include "format/freq_table.h"
#include "format/trellis.h"

namespace nwc {

struct TrainingOptions {
  uint64_t weights = 2 << 20;  // sampled for each table, over all checkpoints
  int rounds = 4;
  TrellisId trellis = TrellisId::kEightStates;
  double lambda = kLambda;  // squared steps a bit
  int threads = 0;
};

// One line of the report, on tiles that were not trained on.
struct TableQuality {
  int t = 0;
  double bits = 0;         // a weight, escapes included
  double gap = 0;          // above the Gaussian rate-distortion bound ½·log2(σ²/D)
  double escape_rate = 0;  // escaped weights a weight
};

struct TrainingResult {
  CodecTables tables;
  std::vector<TableQuality> validation;  // one for each t
};

// Uses the linear tensors of `sources` (IsLinearWeight). Deterministic, whatever `threads`.
// kUsage when there are none. `progress(done, total)` counts tables times rounds.
Result<TrainingResult> TrainTables(const std::vector<const TensorSource*>& sources,
                                   const TrainingOptions& options,
                                   const std::function<void(uint64_t, uint64_t)>& progress);

// Where training starts: cells of a Gaussian.
CodecTables GaussianTables();

}  // namespace nwc
