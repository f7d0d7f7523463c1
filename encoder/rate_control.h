// Finds the one step ratio that gives a group of tensors its target rate.
#pragma once

#include <array>
#include <atomic>
#include <vector>

#include "encoder/policy.h"
#include "encoder/stream_encoder.h"
#include "encoder/worker_pool.h"

namespace nwc {

inline constexpr float kLambda =
    0.33f;  // squared steps a bit; tests/bench/README.md says how found

struct RateResult {
  StepChoice choice;
  double predicted_bits = 0;  // file bits a weight
};

// `plans` are the stream tensors of one group. Searches sampled tiles (all of them up to 24 M
// weights) at several step ratios. kUsage when no ratio gives `target_bits`, with the nearest rate.
Result<RateResult> FindStepRatio(const TensorSource& source, const std::vector<TensorPlan>& plans,
                                 double target_bits, TrellisId trellis, const CodecTables& tables,
                                 WorkerPool* pool, const std::atomic<bool>* cancel);

// Which values of t a container uses. Tables that are not used shrink to the least a codec may
// hold.
using TableUse = std::array<bool, kTableCount>;
void MarkUsedTables(const SideInfo& side, TableUse* use);
TableUse UsedTables(const std::vector<SideInfo>& sides);
CodecTables PruneCodec(const CodecTables& tables, const TableUse& use);

// Bytes the container spends on the tables of a codec.
uint64_t CodecBytes(const CodecTables& tables);

}  // namespace nwc
