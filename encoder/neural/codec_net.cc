#include "encoder/neural/codec_net.h"

#include <cmath>

namespace nwc {
namespace {

constexpr double kLayerNormEpsilon = 1e-5;
// LayerNorm's first gain: small, so that a block is nearly the identity, yet not zero, where ReLU
// would pass no gradient.
constexpr double kFirstGain = 0.02;
constexpr size_t kTensorsInBlock = 5;

// rows × columns with orthonormal columns (or rows, where those are fewer).
torch::Tensor Orthonormal(int64_t rows, int64_t columns, const at::Generator& generator) {
  const bool wide = columns > rows;
  const auto random =
      torch::randn({std::max(rows, columns), std::min(rows, columns)}, generator, torch::kFloat64);
  const auto q = std::get<0>(torch::linalg_qr(random));
  return (wide ? q.t() : q).to(torch::kFloat32).contiguous();
}

std::vector<float> Values(const torch::Tensor& tensor) {
  const auto flat = tensor.detach().cpu().contiguous();
  const float* begin = flat.const_data_ptr<float>();
  return {begin, begin + flat.numel()};
}

}  // namespace

CodecNet::CodecNet(const NetShape& shape, const std::vector<double>& gains, at::Generator generator,
                   torch::Device device)
    : shape_(shape) {
  const auto width = shape.width;
  // The way out is the transpose of the way in, cut to as many rows as there are outputs.
  const auto basis = Orthonormal(width, std::max(shape.inputs, shape.outputs), generator);
  const double out_gain = shape.blocks == 0 ? gains[0] : 1;
  parameters_ = {basis.narrow(1, 0, shape.inputs).contiguous(), torch::zeros({width})};
  for (int64_t b = 0; b < shape.blocks; ++b) {
    const double deviation = 1 / std::sqrt(static_cast<double>(width));
    parameters_.push_back(torch::randn({width, width}, generator) * deviation);
    parameters_.push_back(torch::zeros({width}));
    parameters_.push_back(torch::full({width}, kFirstGain));
    parameters_.push_back(torch::zeros({width}));
    auto embedding = torch::empty({shape.qualities, width});
    for (int64_t q = 0; q < shape.qualities; ++q) {
      const double share = 1.0 / static_cast<double>(shape.blocks);
      embedding[q].fill_(std::pow(gains[static_cast<size_t>(q)], share));
    }
    parameters_.push_back(embedding);
  }
  parameters_.push_back(basis.narrow(1, 0, shape.outputs).t().contiguous() * out_gain);
  parameters_.push_back(torch::zeros({shape.outputs}));
  for (auto& p : parameters_) p = p.to(device).requires_grad_(true);
}

torch::Tensor CodecNet::Forward(const torch::Tensor& x) const {
  const auto* p = parameters_.data();
  auto hidden = torch::linear(x, p[0], p[1]);
  p += 2;
  for (int64_t b = 0; b < shape_.blocks; ++b, p += kTensorsInBlock) {
    const auto normed = torch::layer_norm(torch::linear(hidden, p[0], p[1]), {shape_.width}, p[2],
                                          p[3], kLayerNormEpsilon);
    hidden = (hidden + torch::relu(normed)) * p[4].unsqueeze(1);
  }
  return torch::linear(hidden, p[0], p[1]);
}

void CodecNet::RoundToHalf() {
  const torch::NoGradGuard no_grad;
  for (auto& p : parameters_) p.copy_(p.to(torch::kFloat16));
}

NeuralCodec CodecNet::Export() const {
  NeuralCodec codec;
  codec.chunk = static_cast<uint16_t>(shape_.outputs);
  codec.latents = static_cast<uint16_t>(shape_.inputs);
  codec.width = static_cast<uint16_t>(shape_.width);
  codec.blocks = static_cast<uint8_t>(shape_.blocks);
  codec.qualities = static_cast<uint8_t>(shape_.qualities);
  const auto* p = parameters_.data();
  codec.in_weight = Values(p[0]);
  codec.in_bias = Values(p[1]);
  p += 2;
  for (int64_t b = 0; b < shape_.blocks; ++b, p += kTensorsInBlock) {
    codec.block.push_back({Values(p[0]), Values(p[1]), Values(p[2]), Values(p[3]), Values(p[4])});
  }
  codec.out_weight = Values(p[0]);
  codec.out_bias = Values(p[1]);
  return codec;
}

}  // namespace nwc
