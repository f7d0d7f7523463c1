// The factorised prior of Ballé et al., "Variational image compression with a scale hyperprior"
// (arXiv 1802.01436, appendix 6.1): for each channel a small monotone net is the cumulative
// distribution of a latent, and the probability of an integer y is c(y + ½) − c(y − ½). A channel
// is a pair of quality and latent, so every quality has its own prior.
//
// Only files of encoder/neural include this header: it brings in LibTorch.
#pragma once

#include <torch/torch.h>

#include <vector>

namespace nwc {

class EntropyBottleneck {
 public:
  // `scales[q]`: the standard deviation that latents of quality q begin with; the nets see latents
  // divided by it. Draws from `generator`, of the CPU.
  EntropyBottleneck(const std::vector<double>& scales, int64_t latents, at::Generator generator,
                    torch::Device device = torch::kCPU);

  // latents: qualities × n × latents, noisy or integer. Gives bits, of the same shape: −log2 of the
  // probability of the unit interval around each, at most kMaxBits.
  [[nodiscard]] torch::Tensor Bits(const torch::Tensor& latents) const;

  [[nodiscard]] const std::vector<torch::Tensor>& parameters() const { return parameters_; }

  static constexpr double kMaxBits = 30;

 private:
  // x: channels × 1 × n. Gives logits of the cumulative distribution, the same shape.
  [[nodiscard]] torch::Tensor Logits(torch::Tensor x) const;

  int64_t qualities_, latents_;
  torch::Tensor inverse_scales_;  // channels × 1 × 1
  std::vector<torch::Tensor>
      parameters_;  // each layer: matrix, bias, and but for the last a factor
};

}  // namespace nwc
