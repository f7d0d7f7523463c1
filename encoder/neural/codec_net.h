// The residual net that is both halves of the codec (arXiv 2510.11234, section 3): a linear layer
// to `width`, blocks x ← (x + ReLU(LayerNorm(W x + b))) ⊙ e[q], a linear layer out of it.
//
// Only files of encoder/neural include this header: it brings in LibTorch.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "format/neural_codec.h"

namespace nwc {

struct NetShape {
  int64_t inputs = 0, width = 0, outputs = 0, blocks = 0, qualities = 0;
};

// Functions throw c10::Error as LibTorch does.
class CodecNet {
 public:
  // Starts near the linear map x ↦ gains[q] · P x, P the first rows or columns of the identity, so
  // that training begins at a scalar quantiser. Draws from `generator`, of the CPU: the start is
  // the same on every device.
  CodecNet(const NetShape& shape, const std::vector<double>& gains, at::Generator generator,
           torch::Device device = torch::kCPU);

  // x: qualities × n × inputs, the chunks of one quality together. Gives qualities × n × outputs.
  [[nodiscard]] torch::Tensor Forward(const torch::Tensor& x) const;

  // In the order of NeuralCodec's fields: in_weight, in_bias; for each block weight, bias, gain,
  // shift, embedding; out_weight, out_bias. Tensors share storage with the net.
  [[nodiscard]] const std::vector<torch::Tensor>& parameters() const { return parameters_; }

  // Rounds every parameter to binary16, in place.
  void RoundToHalf();

  // Sizes and parameters, no name and no tables: `chunk` is outputs, `latents` is inputs.
  [[nodiscard]] NeuralCodec Export() const;

 private:
  NetShape shape_;
  std::vector<torch::Tensor> parameters_;
};

}  // namespace nwc
