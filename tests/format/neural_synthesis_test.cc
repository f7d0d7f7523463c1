#include "format/neural_synthesis.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "tests/fuzz/neural_input.h"

namespace nwc {
namespace {

struct Inputs {
  std::vector<int16_t> latents;
  std::vector<uint8_t> quality;
};

Inputs RandomInputs(const NeuralSettings& s, uint32_t seed) {
  std::mt19937 rng(seed);
  Inputs inputs;
  for (size_t i = 0; i < s.latents * kNeuralColumns; ++i) {
    inputs.latents.push_back(static_cast<int16_t>(static_cast<int>(rng() % 17) - 8));
  }
  for (size_t c = 0; c < kNeuralColumns; ++c) {
    inputs.quality.push_back(static_cast<uint8_t>(rng() % s.qualities));
  }
  return inputs;
}

double Dot(const std::vector<float>& weight, float bias, size_t row, const std::vector<double>& x) {
  double sum = bias;
  for (size_t i = 0; i < x.size(); ++i) sum += double{weight[row * x.size() + i]} * x[i];
  return sum;
}

std::vector<double> Layer(const std::vector<float>& weight, const std::vector<float>& bias,
                          const std::vector<double>& x) {
  std::vector<double> out;
  for (size_t o = 0; o < bias.size(); ++o) out.push_back(Dot(weight, bias[o], o, x));
  return out;
}

// The formula of the paper in double precision, one column.
std::vector<double> Formula(const NeuralCodec& codec, std::vector<double> x, size_t quality) {
  x = Layer(codec.in_weight, codec.in_bias, x);
  for (const NeuralBlock& b : codec.block) {
    const std::vector<double> h = Layer(b.weight, b.bias, x);
    double mean = 0, variance = 0;
    for (const double v : h) mean += v / static_cast<double>(h.size());
    for (const double v : h) variance += (v - mean) * (v - mean) / static_cast<double>(h.size());
    for (size_t i = 0; i < h.size(); ++i) {
      const double z =
          (h[i] - mean) / std::sqrt(variance + 1e-5) * double{b.gain[i]} + double{b.shift[i]};
      x[i] = (x[i] + std::max(z, 0.0)) * double{b.embedding[quality * h.size() + i]};
    }
  }
  return Layer(codec.out_weight, codec.out_bias, x);
}

constexpr NeuralSettings kShapes[] = {
    {.chunk = 4, .latents = 4, .width = 16, .blocks = 2, .qualities = 4},
    {.chunk = 16, .latents = 16, .width = 131, .blocks = 4, .qualities = 4},
    {.chunk = 1, .latents = 1, .width = 1, .blocks = 0, .qualities = 1},
    {.chunk = 5, .latents = 64, .width = 29, .blocks = 8, .qualities = 16},
    {.chunk = 64, .latents = 2, .width = 260, .blocks = 1, .qualities = 9},
};

TEST(NeuralSynthesis, IsTheFormula) {
  for (const NeuralSettings& s : kShapes) {
    const NeuralCodec codec = MakeNeuralCodec(s, 5);
    const Inputs in = RandomInputs(s, 6);
    std::vector<float> out(s.chunk * kNeuralColumns);
    NeuralSynthesis(codec).Run(in.latents.data(), in.quality.data(), kNeuralColumns, out.data(),
                               Simd::kScalar);
    for (size_t c = 0; c < kNeuralColumns; ++c) {
      std::vector<double> y;
      for (size_t l = 0; l < s.latents; ++l) y.push_back(in.latents[l * kNeuralColumns + c]);
      const std::vector<double> expected = Formula(codec, y, in.quality[c]);
      for (size_t k = 0; k < s.chunk; ++k) {
        ASSERT_NEAR(out[k * kNeuralColumns + c], expected[k],
                    0x1p-12 * std::max(1.0, std::abs(expected[k])))
            << "width " << s.width << " column " << c;
      }
    }
  }
}

TEST(NeuralSynthesis, VectorsGiveTheBitsOfScalarCode) {
  if (BestSimd() < Simd::kAvx2) GTEST_SKIP() << "no AVX2 here";
  for (const NeuralSettings& s : kShapes) {
    const NeuralSynthesis synthesis(MakeNeuralCodec(s, 7));
    const Inputs in = RandomInputs(s, 8);
    std::vector<float> scalar(s.chunk * kNeuralColumns), vectors(scalar.size());
    synthesis.Run(in.latents.data(), in.quality.data(), kNeuralColumns, scalar.data(),
                  Simd::kScalar);
    synthesis.Run(in.latents.data(), in.quality.data(), kNeuralColumns, vectors.data(),
                  Simd::kAvx2);
    EXPECT_EQ(std::memcmp(scalar.data(), vectors.data(), scalar.size() * sizeof(float)), 0)
        << "width " << s.width;
  }
}

TEST(NeuralSynthesis, FewColumnsAndFloatInputsGiveTheSame) {
  const NeuralSettings s = kShapes[0];
  const NeuralSynthesis synthesis(MakeNeuralCodec(s, 9));
  const Inputs in = RandomInputs(s, 10);
  const std::vector<float> inputs(in.latents.begin(), in.latents.end());
  std::vector<float> all(s.chunk * kNeuralColumns), few(all.size()), floats(all.size());
  synthesis.Run(in.latents.data(), in.quality.data(), kNeuralColumns, all.data());
  synthesis.Run(in.latents.data(), in.quality.data(), 5, few.data());
  synthesis.Run(inputs.data(), in.quality.data(), kNeuralColumns, floats.data());
  EXPECT_EQ(floats, all);
  for (size_t k = 0; k < s.chunk; ++k) {
    for (size_t c = 0; c < 5; ++c) {
      EXPECT_EQ(few[k * kNeuralColumns + c], all[k * kNeuralColumns + c]);
    }
  }
}

}  // namespace
}  // namespace nwc
