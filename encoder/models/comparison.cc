#include "encoder/models/comparison.h"

#include <ATen/Parallel.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

namespace nwc {
namespace {

using torch::Tensor;

// What one position adds to the sums.
struct PositionFigures {
  double original_loss = 0, packed_loss = 0, kl = 0;
  bool same_first = false;
};

// In one pass over the logits, without tensors of the size of the vocabulary in float64.
// Exponentials of binary32 are right to 1e-7 and sums are of binary64, which is far below what is
// measured. KL(p || q) = sum of p_i (x_i - y_i) - ln Z_x + ln Z_y for p = softmax(x), q =
// softmax(y).
PositionFigures ComparePosition(std::span<const float> original, std::span<const float> packed,
                                size_t next) {
  const auto first = std::max_element(original.begin(), original.end());
  const auto other = std::max_element(packed.begin(), packed.end());
  const float x_max = *first, y_max = *other;
  double x_sum = 0, y_sum = 0, weighted = 0;
  for (size_t i = 0; i < original.size(); ++i) {
    const float x = original[i], y = packed[i];
    const auto p = static_cast<double>(std::exp(x - x_max));
    x_sum += p;
    y_sum += static_cast<double>(std::exp(y - y_max));
    weighted += p * static_cast<double>(x - y);
  }
  const double x_log = static_cast<double>(x_max) + std::log(x_sum);
  const double y_log = static_cast<double>(y_max) + std::log(y_sum);
  return {x_log - static_cast<double>(original[next]), y_log - static_cast<double>(packed[next]),
          weighted / x_sum - x_log + y_log, first - original.begin() == other - packed.begin()};
}

Status NotFinite(const char* what) {
  return Status(ErrorCode::kCorrupt,
                std::string("the head gives ") + what +
                    " that are not finite; weights may hold NaN or infinities");
}

}  // namespace

void LogitComparison::Add(const Tensor& original, const Tensor& packed, const Tensor& next) {
  const Tensor x = original.cpu().contiguous(), y = packed.cpu().contiguous();
  const Tensor following = next.cpu().contiguous();
  const auto vocabulary = static_cast<size_t>(x.size(1));
  std::vector<PositionFigures> figures(static_cast<size_t>(x.size(0)));
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i * x.size(1);
      figures[static_cast<size_t>(i)] = ComparePosition(
          {x.data_ptr<float>() + at, vocabulary}, {y.data_ptr<float>() + at, vocabulary},
          static_cast<size_t>(following.data_ptr<int64_t>()[i]));
    }
  });
  for (const PositionFigures& figure : figures) {
    original_loss_ += figure.original_loss;
    packed_loss_ += figure.packed_loss;
    kl_ += figure.kl;
    agreements_ += figure.same_first ? 1 : 0;
    ++positions_;
  }
}

Result<Evaluation> LogitComparison::Means() const {
  if (!std::isfinite(original_loss_ + packed_loss_ + kl_)) return NotFinite("logits");
  const auto count = static_cast<double>(positions_);
  Evaluation result;
  result.perplexity = std::exp(packed_loss_ / count);
  result.reference_perplexity = std::exp(original_loss_ / count);
  result.kl = kl_ / count;
  result.top1_agreement = static_cast<double>(agreements_) / count;
  result.tokens = positions_;
  return result;
}

void CosineComparison::Add(const Tensor& original, const Tensor& packed) {
  const Tensor a = original.to(torch::kFloat64), b = packed.to(torch::kFloat64);
  const Tensor norms = (a.square().sum(-1) * b.square().sum(-1)).sqrt();
  const Tensor cosines = (a * b).sum(-1) / norms;
  sum_ += cosines.sum().item<double>();
  worst_ = std::min(worst_, cosines.min().item<double>());
  sentences_ += static_cast<uint64_t>(cosines.size(0));
}

Result<Evaluation> CosineComparison::Means() const {
  if (!std::isfinite(sum_)) return NotFinite("embeddings");
  Evaluation result;
  result.encoder = true;
  result.mean_cosine = sum_ / static_cast<double>(sentences_);
  result.worst_cosine = worst_;
  result.sentences = sentences_;
  return result;
}

}  // namespace nwc
