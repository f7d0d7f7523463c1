#include "encoder/neural/codec_net.h"

#include <gtest/gtest.h>

#include <cmath>

#include "encoder/neural/codec_trainer.h"
#include "format/neural_synthesis.h"
#include "tests/neural/test_models.h"

namespace nwc {
namespace {

// A net whose every parameter is away from its start and its neutral value.
CodecNet ShakenNet(const NetShape& shape) {
  const std::vector<double> gains(static_cast<size_t>(shape.qualities), 1.5);
  CodecNet net(shape, gains, StepGenerator(3, 0, 0));
  const auto generator = StepGenerator(4, 0, 0);
  const torch::NoGradGuard no_grad;
  for (torch::Tensor p : net.parameters()) p.add_(torch::randn(p.sizes(), generator) * 0.3);
  return net;
}

std::vector<double> Linear(const std::vector<float>& weight, const std::vector<float>& bias,
                           const std::vector<double>& x) {
  std::vector<double> y(bias.begin(), bias.end());
  for (size_t o = 0; o < y.size(); ++o) {
    for (size_t i = 0; i < x.size(); ++i) y[o] += weight[o * x.size() + i] * x[i];
  }
  return y;
}

// The formula of the paper, one chunk in binary64.
std::vector<double> DirectFormula(const NeuralCodec& net, size_t quality, std::vector<double> x) {
  x = Linear(net.in_weight, net.in_bias, x);
  for (const NeuralBlock& b : net.block) {
    std::vector<double> h = Linear(b.weight, b.bias, x);
    double mean = 0, variance = 0;
    for (const double v : h) mean += v / static_cast<double>(h.size());
    for (const double v : h) variance += (v - mean) * (v - mean) / static_cast<double>(h.size());
    for (size_t i = 0; i < h.size(); ++i) {
      const double normed = (h[i] - mean) / std::sqrt(variance + 1e-5) * b.gain[i] + b.shift[i];
      x[i] = (x[i] + std::max(normed, 0.0)) * b.embedding[quality * h.size() + i];
    }
  }
  return Linear(net.out_weight, net.out_bias, x);
}

TEST(CodecNet, EqualsTheFormula) {
  const CodecNet net = ShakenNet({5, 24, 7, 3, 2});
  const NeuralCodec exported = net.Export();
  const auto x = torch::randn({2, 9, 5}, StepGenerator(5, 0, 0));
  const auto y = net.Forward(x).detach();
  for (int64_t q = 0; q < 2; ++q) {
    for (int64_t n = 0; n < 9; ++n) {
      std::vector<double> in;
      for (int64_t i = 0; i < 5; ++i) in.push_back(x[q][n][i].item<double>());
      const auto expected = DirectFormula(exported, static_cast<size_t>(q), in);
      for (int64_t k = 0; k < 7; ++k) {
        const double want = expected[static_cast<size_t>(k)];
        EXPECT_NEAR(y[q][n][k].item<double>(), want, 1e-4 * (1 + std::fabs(want)));
      }
    }
  }
}

TEST(CodecNet, StartsNearTheIdentityTimesItsGain) {
  const CodecNet net({4, 32, 4, 4, 2}, {2.0, 8.0}, StepGenerator(1, 0, 0));
  const auto x = torch::randn({1, 64, 4}, StepGenerator(2, 0, 0)).expand({2, 64, 4});
  const auto y = net.Forward(x).detach();
  EXPECT_LT(torch::max(torch::abs(y[0] - 2 * x[0])).item<double>(), 0.5);
  EXPECT_LT(torch::max(torch::abs(y[1] - 8 * x[1])).item<double>(), 2.0);
}

// What a decoder computes is what was trained.
TEST(CodecNet, ExportEqualsTheDecodersNet) {
  for (const NetShape& shape : {NetShape{4, 16, 4, 4, 4}, NetShape{16, 96, 16, 2, 3}}) {
    CodecNet net = ShakenNet(shape);
    net.RoundToHalf();
    const NeuralSynthesis synthesis(net.Export());
    const auto inputs = static_cast<size_t>(shape.inputs);
    std::vector<int16_t> latents(inputs * kNeuralColumns);
    std::vector<uint8_t> quality(kNeuralColumns, 1);
    auto x = torch::zeros({shape.qualities, static_cast<int64_t>(kNeuralColumns), shape.inputs});
    for (size_t l = 0; l < inputs; ++l) {
      for (size_t c = 0; c < kNeuralColumns; ++c) {
        latents[l * kNeuralColumns + c] =
            static_cast<int16_t>(static_cast<int>((7 * l + 5 * c) % 23) - 11);
        x[1][static_cast<int64_t>(c)][static_cast<int64_t>(l)] = latents[l * kNeuralColumns + c];
      }
    }
    std::vector<float> out(static_cast<size_t>(shape.outputs) * kNeuralColumns);
    synthesis.Run(latents.data(), quality.data(), kNeuralColumns, out.data());
    const auto y = net.Forward(x).detach()[1];
    for (int64_t c = 0; c < static_cast<int64_t>(kNeuralColumns); ++c) {
      for (int64_t k = 0; k < shape.outputs; ++k) {
        const float want = y[c][k].item<float>();
        const size_t at = static_cast<size_t>(k) * kNeuralColumns + static_cast<size_t>(c);
        EXPECT_NEAR(out[at], want, 1e-4F * (1 + std::fabs(want)));
      }
    }
  }
}

}  // namespace
}  // namespace nwc
