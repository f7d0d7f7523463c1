// Figures of two models over the same text, summed position by position or sentence by sentence.
#pragma once

#include <torch/torch.h>

#include "encoder/evaluation.h"

namespace nwc {

// Language models.
class LogitComparison {
 public:
  // original, packed: positions × vocabulary, float32. next: positions, int64, the tokens that
  // follow. Computes in float64 on the CPU; the sums do not depend on the number of threads.
  void Add(const torch::Tensor& original, const torch::Tensor& packed, const torch::Tensor& next);

  // kCorrupt when a logit was not finite. At least one position was added.
  [[nodiscard]] Result<Evaluation> Means() const;

 private:
  double original_loss_ = 0, packed_loss_ = 0, kl_ = 0;  // sums over positions, nats
  uint64_t agreements_ = 0, positions_ = 0;
};

// Sentence encoders.
class CosineComparison {
 public:
  // sentences × hidden each, float32.
  void Add(const torch::Tensor& original, const torch::Tensor& packed);
  [[nodiscard]] Result<Evaluation> Means() const;

 private:
  double sum_ = 0, worst_ = 1;
  uint64_t sentences_ = 0;
};

}  // namespace nwc
