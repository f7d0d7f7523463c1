#include "encoder/neural/entropy_bottleneck.h"

#include <array>
#include <cmath>

namespace nwc {
namespace {

constexpr std::array<int64_t, 5> kFilters = {1, 3, 3, 3, 1};
constexpr size_t kLayers = kFilters.size() - 1;
// A logistic distribution of unit variance has the logits π/√3 · x.
constexpr double kFirstSlope = 1.8137993642342178;
constexpr double kFirstBias = 0.5;  // drawn uniformly from ±this

double InverseSoftplus(double value) { return std::log(std::expm1(value)); }

}  // namespace

EntropyBottleneck::EntropyBottleneck(const std::vector<double>& scales, int64_t latents,
                                     at::Generator generator, torch::Device device)
    : qualities_(static_cast<int64_t>(scales.size())), latents_(latents) {
  const int64_t channels = qualities_ * latents_;
  inverse_scales_ = torch::empty({qualities_, latents_});
  for (int64_t q = 0; q < qualities_; ++q) {
    inverse_scales_[q].fill_(1 / scales[static_cast<size_t>(q)]);
  }
  inverse_scales_ = inverse_scales_.view({channels, 1, 1}).to(device);
  const double slope = std::pow(kFirstSlope, 1.0 / kLayers);
  for (size_t k = 0; k < kLayers; ++k) {
    // A row of the matrix sums over kFilters[k] equal inputs, so the slopes multiply as wanted.
    const double entry = InverseSoftplus(slope / static_cast<double>(kFilters[k]));
    parameters_.push_back(torch::full({channels, kFilters[k + 1], kFilters[k]}, entry));
    const auto uniform = torch::rand({channels, kFilters[k + 1], 1}, generator);
    // The last bias would shift the whole distribution off zero.
    const double range = k + 1 < kLayers ? kFirstBias : 0;
    parameters_.push_back((uniform * 2 - 1) * range);
    if (k + 1 < kLayers) parameters_.push_back(torch::zeros({channels, kFilters[k + 1], 1}));
  }
  for (auto& p : parameters_) p = p.to(device).requires_grad_(true);
}

torch::Tensor EntropyBottleneck::Logits(torch::Tensor x) const {
  const auto* p = parameters_.data();
  for (size_t k = 0; k < kLayers; ++k) {
    x = torch::baddbmm(p[1], torch::softplus(p[0]), x);
    if (k + 1 == kLayers) break;
    x = torch::addcmul(x, torch::tanh(p[2]), torch::tanh(x));
    p += 3;
  }
  return x;
}

torch::Tensor EntropyBottleneck::Bits(const torch::Tensor& latents) const {
  const int64_t n = latents.size(1);
  const auto y = latents.transpose(1, 2).reshape({qualities_ * latents_, 1, n});
  const auto ends = torch::cat({y - 0.5, y + 0.5}, 2) * inverse_scales_;
  const auto logits = Logits(ends);
  const auto lower = logits.narrow(2, 0, n), upper = logits.narrow(2, n, n);
  // Both on the side where sigmoid is small keeps the difference exact in the tails.
  const auto sign = 1 - 2 * torch::gt(lower + upper, 0).to(torch::kFloat32);
  const auto probability = torch::abs(torch::sigmoid(sign * upper) - torch::sigmoid(sign * lower));
  const auto bits = -torch::log2(torch::clamp_min(probability, std::exp2(-kMaxBits)));
  return bits.view({qualities_, latents_, n}).transpose(1, 2);
}

}  // namespace nwc
