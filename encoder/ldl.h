// LDL factors of an input second moment H: what turns its quadratic form into independent errors of
// columns. With H = L·diag(D)·Lᵀ, L unit lower triangular, and E the error of a matrix,
//   tr(E H Eᵀ) = Σ_i D_i ‖(E L)_i‖²,   (E L)_i = E_i + Σ_{k>i} E_k L_ki,
// so columns are coded from the last to the first and column i takes up the errors of those behind
// it (LDLQ: Chee et al., QuIP, arXiv 2307.13304, section 3; steps from D: WaterSIC, arXiv
// 2603.04956).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "encoder/worker_pool.h"
#include "format/status.h"

namespace nwc {

struct LdlFactors {
  size_t size = 0;
  std::vector<float> lower;      // size × size, row-major: L below its diagonal, 0 on and above it
  std::vector<double> diagonal;  // D, all > 0
};

// Factors `moment` (size × size, row-major; the lower triangle is read) + damping · mean diagonal ·
// I. The result does not depend on the number of threads. kUsage when the matrix is not positive
// definite even so. Needs 8·size² bytes of scratch.
Result<LdlFactors> FactorLdl(std::span<const float> moment, size_t size, double damping,
                             WorkerPool* pool);

struct UduFactors {
  size_t size = 0;
  std::vector<float> upper;      // size × size, row-major: U above its diagonal, 0 on and below it
  std::vector<double> diagonal;  // D, all > 0
};

// The same for rows, which are coded from the first to the last: O = U·diag(D)·Uᵀ, U unit upper
// triangular, of an output moment. tr(Eᵀ O E) = Σ_j D_j ‖(Uᵀ E)_j‖², so row j takes up
// Σ_{k<j} U_kj E_k, the errors of the rows above it.
Result<UduFactors> FactorUdu(std::span<const float> moment, size_t size, double damping,
                             WorkerPool* pool);

// FactorLdl with blocks of `block` columns in place of single ones: coefficients that carry the
// error of column k (row index) to column i (column index), for i in an earlier block than k, else
// 0; size × size, row-major.
Result<std::vector<float>> BlockFeedback(std::span<const float> moment, size_t size, size_t block,
                                         double damping, WorkerPool* pool);

}  // namespace nwc
