// Finds the one constant that gives a group of tensors its target rate.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "encoder/importance.h"
#include "encoder/policy.h"
#include "encoder/step_choice.h"
#include "encoder/worker_pool.h"
#include "format/trellis.h"

namespace nwc {

// What all tensors of a group share.
struct StreamChoice {
  double constant = 0.1;         // step of weight (j, i) = constant / √(o_j · D_i)
  int offset1 = 0, offset2 = 0;  // reconstruction offsets, 64ths of a step
  CodecTables tables;
};

struct StreamOptions {
  TrellisId trellis = TrellisId::kEightStates;
  float lambda = kLambda;
  ImportanceOptions importance;
  const StatisticsSource* statistics = nullptr;  // may be null
};

// A group under rate control: analyses every tensor once, then answers what rate a constant gives,
// by coding a sample (up to 24 M weights) as packing will.
class RateControl {
 public:
  // `plans` are the stream tensors of one group; references must outlive the object.
  RateControl(const TensorSource& source, const StreamOptions& options, const CodecTables& prior,
              WorkerPool* pool);
  ~RateControl();

  // Reads weights and statistics of each tensor. Tensors that cannot be stream are left out;
  // packing will say so. `progress(done, total)` counts tensors.
  Status Analyse(const std::vector<TensorPlan>& plans,
                 const std::function<void(uint64_t, uint64_t)>& progress,
                 const std::atomic<bool>* cancel);

  // kUsage when no constant gives `target_bits` file bits a weight, with the nearest rate.
  Result<StreamChoice> Find(double target_bits, const std::atomic<bool>* cancel);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Importance of one tensor as `options` ask: reads its statistics if there are any.
Result<TensorImportance> ImportanceOf(const StreamOptions& options, const TensorInfo& tensor,
                                      const TensorScales& scales, WorkerPool* pool);

// Which values of t a container uses. Tables that are not used shrink to the least a codec may
// hold.
using TableUse = std::array<bool, kTableCount>;
void MarkUsedTables(const SideInfo& side, TableUse* use);
CodecTables PruneCodec(const CodecTables& tables, const TableUse& use);

// Bytes the container spends on the tables of a codec.
uint64_t CodecBytes(const CodecTables& tables);

}  // namespace nwc
