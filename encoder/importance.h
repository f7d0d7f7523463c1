// Which weights matter: row and column importances from calibration, whose product weighs a squared
// error in the second-order estimate of the KL divergence to the original model,
//   KL ≈ ½ Σ_matrices tr(O ΔW H ΔWᵀ)   per token,
//
// O the second moment of the gradient on the outputs or its diagonal (YAQA, Tseng et al., arXiv
// 2505.22988).
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
  std::vector<float> upper;  // U of O for the feedback along rows (UduFactors::upper), or empty
  bool measures_kl = false;  // row · column · squared error sums to twice the KL divergence
};

// Mean square of what rows 0 … above − 1 add to the targets of rows begin … end, as
// StepImportance::row_noise of a row counts what all rows above it add.
std::vector<double> RowNoise(const TensorImportance& importance, size_t above, size_t begin,
                             size_t end);

// `statistics` may be null: then mode and feedback are none.
Result<TensorImportance> MeasureImportance(const ImportanceOptions& options,
                                           const TensorInfo& tensor, const TensorScales& scales,
                                           const LayerStatistics* statistics, WorkerPool* pool);

}  // namespace nwc
