#include "encoder/neural/entropy_bottleneck.h"

#include <gtest/gtest.h>

#include <cmath>

#include "encoder/neural/codec_trainer.h"

namespace nwc {
namespace {

EntropyBottleneck Prior() { return {{2.0, 9.0}, 3, StepGenerator(1, 0, 0)}; }

TEST(EntropyBottleneck, ProbabilitiesOfIntegersSumToOne) {
  const EntropyBottleneck prior = Prior();
  const auto integers = torch::arange(-200, 201, torch::kFloat32).view({1, 401, 1});
  const auto bits = prior.Bits(integers.expand({2, 401, 3}).contiguous()).detach();
  const auto sums = torch::exp2(-bits).sum(1);
  EXPECT_LT(torch::max(torch::abs(sums - 1)).item<double>(), 1e-3);
}

TEST(EntropyBottleneck, StartsNearAGaussianOfItsScale) {
  const EntropyBottleneck prior = Prior();
  const auto y = torch::randn({2, 20000, 3}, StepGenerator(2, 0, 0)) *
                 torch::tensor({2.0F, 9.0F}).view({2, 1, 1});
  const auto bits = prior.Bits(y).detach().mean({1, 2});
  for (int q = 0; q < 2; ++q) {
    const double deviation = q == 0 ? 2.0 : 9.0;
    const double gaussian = 0.5 * std::log2(2 * M_PI * M_E * deviation * deviation);
    EXPECT_NEAR(bits[q].item<double>(), gaussian, 0.25);
  }
}

// Central differences of the rate, by the latents and by every parameter.
TEST(EntropyBottleneck, GradientsAreThoseOfTheRate) {
  const EntropyBottleneck prior = Prior();
  auto y = (torch::randn({2, 50, 3}, StepGenerator(3, 0, 0)) * 3).requires_grad_(true);
  const auto rate = [&] { return prior.Bits(y).to(torch::kFloat64).sum(); };
  rate().backward();
  std::vector<torch::Tensor> variables = prior.parameters();
  variables.push_back(y);
  constexpr double kStep = 1e-2;
  for (torch::Tensor v : variables) {
    const torch::NoGradGuard no_grad;
    const auto direction = torch::sign(torch::randn(v.sizes(), StepGenerator(4, 0, 0)));
    v.add_(direction * kStep);
    const double above = rate().item<double>();
    v.sub_(direction * (2 * kStep));
    const double below = rate().item<double>();
    v.add_(direction * kStep);
    const double slope = (v.grad() * direction).sum().item<double>();
    EXPECT_NEAR((above - below) / (2 * kStep), slope, 0.02 * std::fabs(slope) + 0.05);
  }
}

TEST(EntropyBottleneck, IsFiniteFarOut) {
  const EntropyBottleneck prior = Prior();
  const auto bits = prior.Bits(torch::full({2, 1, 3}, 1e6));
  EXPECT_TRUE(torch::isfinite(bits).all().item<bool>());
  EXPECT_LE(torch::max(bits).item<double>(), EntropyBottleneck::kMaxBits);
}

}  // namespace
}  // namespace nwc
