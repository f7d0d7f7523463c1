// Which weights matter: row and column importances from calibration, whose product weighs a squared
// error in the second-order estimate of the KL divergence to the original model,
//   KL ≈ ½ Σ_matrices tr(diag(o) ΔW H ΔWᵀ)   per token.
#pragma once

#include <memory>
#include <vector>

#include "encoder/importance_options.h"
#include "encoder/ldl.h"
#include "encoder/statistics.h"
#include "encoder/step_choice.h"
#include "format/index.h"

namespace nwc {

struct TensorImportance {
  StepImportance steps;
  std::vector<float> lower;  // L of H for the feedback (LdlFactors::lower), or empty
  bool measures_kl = false;  // row · column · squared error sums to twice the KL divergence
};

// `statistics` may be null: then mode and feedback are none.
Result<TensorImportance> MeasureImportance(const ImportanceOptions& options,
                                           const TensorInfo& tensor, const TensorScales& scales,
                                           const LayerStatistics* statistics, WorkerPool* pool);

}  // namespace nwc
