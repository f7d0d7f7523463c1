#include "encoder/ldl.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace nwc {
namespace {

constexpr size_t kPanel = 64;    // columns factored before the rest is updated
constexpr double kTiny = 1e-12;  // of the mean diagonal: smaller pivots are no rank

// Right-looking blocked LDLᵀ of the lower triangle, in place: D on the diagonal, L below it.
class Factorisation {
 public:
  Factorisation(std::vector<double>* a, size_t size, WorkerPool* pool)
      : a_(*a), n_(size), pool_(pool), scaled_(kPanel * size) {}

  // False when a pivot is not above `least`.
  bool Run(double least) {
    for (size_t begin = 0; begin < n_; begin += kPanel) {
      const size_t end = std::min(begin + kPanel, n_);
      if (!FactorDiagonal(begin, end, least)) return false;
      FactorPanel(begin, end);
      UpdateRest(begin, end);
    }
    return true;
  }

 private:
  double* Row(size_t i) { return &a_[i * n_]; }

  bool FactorDiagonal(size_t begin, size_t end, double least) {
    for (size_t j = begin; j < end; ++j) {
      double* row = Row(j);
      for (size_t k = begin; k < j; ++k) {
        // row[k] holds L_jk D_k until the pivot is known.
        double dot = row[k];
        for (size_t m = begin; m < k; ++m) dot -= row[m] * Row(k)[m];
        row[k] = dot;
      }
      double pivot = row[j];
      for (size_t k = begin; k < j; ++k) {
        const double l = row[k] / Row(k)[k];
        pivot -= l * row[k];
        row[k] = l;
      }
      if (!(pivot > least)) return false;
      row[j] = pivot;
    }
    return true;
  }

  // Rows below the diagonal block: L = A · (L₁ D₁)⁻ᵀ; keeps L D transposed in scaled_.
  void FactorPanel(size_t begin, size_t end) {
    pool_->ParallelFor(n_ - end, [&](size_t i) {
      double* row = Row(end + i);
      for (size_t k = begin; k < end; ++k) {
        double dot = row[k];
        for (size_t m = begin; m < k; ++m) dot -= row[m] * Row(k)[m];
        row[k] = dot;
        scaled_[(k - begin) * n_ + end + i] = dot;
      }
      for (size_t k = begin; k < end; ++k) row[k] /= Row(k)[k];
    });
  }

  void UpdateRest(size_t begin, size_t end) {
    pool_->ParallelFor(n_ - end, [&](size_t i) {
      double* row = Row(end + i);
      const size_t stop = end + i + 1;
      size_t k = begin;
      for (; k + 4 <= end; k += 4) {
        const double* s0 = &scaled_[(k - begin) * n_];
        const double* s1 = s0 + n_;
        const double* s2 = s1 + n_;
        const double* s3 = s2 + n_;
        const double l0 = row[k], l1 = row[k + 1], l2 = row[k + 2], l3 = row[k + 3];
        for (size_t j = end; j < stop; ++j) {
          row[j] -= (l0 * s0[j] + l1 * s1[j]) + (l2 * s2[j] + l3 * s3[j]);
        }
      }
      for (; k < end; ++k) {
        const double* s = &scaled_[(k - begin) * n_];
        for (size_t j = end; j < stop; ++j) row[j] -= row[k] * s[j];
      }
    });
  }

  std::vector<double>& a_;
  const size_t n_;
  WorkerPool* pool_;
  std::vector<double> scaled_;  // kPanel × size
};

Result<std::vector<double>> Factor(std::span<const float> moment, size_t size, double damping,
                                   WorkerPool* pool) {
  double trace = 0;
  for (size_t i = 0; i < size; ++i) trace += static_cast<double>(moment[i * size + i]);
  const double mean = trace / static_cast<double>(size);
  if (!std::isfinite(mean) || mean <= 0) {
    return Status(ErrorCode::kUsage, "the second moment has no positive finite trace");
  }
  std::vector<double> a(size * size, 0);
  pool->ParallelFor(size, [&](size_t i) {
    for (size_t j = 0; j <= i; ++j) a[i * size + j] = static_cast<double>(moment[i * size + j]);
    a[i * size + i] += damping * mean;
  });
  if (!Factorisation(&a, size, pool).Run(kTiny * mean)) {
    return Status(ErrorCode::kUsage,
                  "the second moment is not positive definite; more calibration tokens or a "
                  "larger --damping than " +
                      std::to_string(damping) + " help");
  }
  return a;
}

}  // namespace

Result<LdlFactors> FactorLdl(std::span<const float> moment, size_t size, double damping,
                             WorkerPool* pool) {
  NWC_ASSIGN_OR_RETURN(const std::vector<double> a, Factor(moment, size, damping, pool));
  LdlFactors factors;
  factors.size = size;
  factors.lower.assign(size * size, 0);
  factors.diagonal.resize(size);
  for (size_t i = 0; i < size; ++i) {
    factors.diagonal[i] = a[i * size + i];
    for (size_t j = 0; j < i; ++j)
      factors.lower[i * size + j] = static_cast<float>(a[i * size + j]);
  }
  return factors;
}

Result<UduFactors> FactorUdu(std::span<const float> moment, size_t size, double damping,
                             WorkerPool* pool) {
  // Of the matrix with rows and columns in reverse, U is L in reverse.
  std::vector<float> reversed(moment.size());
  std::reverse_copy(moment.begin(), moment.end(), reversed.begin());
  NWC_ASSIGN_OR_RETURN(LdlFactors factors, FactorLdl(reversed, size, damping, pool));
  std::reverse(factors.lower.begin(), factors.lower.end());
  std::reverse(factors.diagonal.begin(), factors.diagonal.end());
  return UduFactors{size, std::move(factors.lower), std::move(factors.diagonal)};
}

Result<std::vector<float>> BlockFeedback(std::span<const float> moment, size_t size, size_t block,
                                         double damping, WorkerPool* pool) {
  NWC_ASSIGN_OR_RETURN(const std::vector<double> a, Factor(moment, size, damping, pool));
  // L = L_block · diag(L_kk): each row of a block column solves x · L_kk = row.
  std::vector<float> feedback(size * size, 0);
  pool->ParallelFor(size, [&](size_t k) {
    std::vector<double> x(block);
    for (size_t begin = 0; begin + block <= k - k % block; begin += block) {
      for (size_t i = block; i-- > 0;) {
        double v = a[k * size + begin + i];
        for (size_t m = i + 1; m < block; ++m) v -= x[m] * a[(begin + m) * size + begin + i];
        x[i] = v;
        feedback[k * size + begin + i] = static_cast<float>(v);
      }
    }
  });
  return feedback;
}

}  // namespace nwc
