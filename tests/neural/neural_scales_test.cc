#include "encoder/neural_scales.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "format/synthesis.h"
#include "tests/neural/test_models.h"

namespace nwc {
namespace {

double Factor(const NeuralScales& s, size_t column) {
  return static_cast<double>(s.scale) * StepOfCode(s.column_code[column]);
}

TEST(NeuralScales, FollowTheColumnsWithinASixteenthOctave) {
  std::vector<float> values = GaussianValues(4096 * 2, 1);
  for (size_t i = 0; i < values.size(); ++i) values[i] *= i % 2 == 0 ? 0.01F : 3.0F;
  const NeuralScales s = ChooseNeuralScales(values, 4096, 2);
  EXPECT_NEAR(std::log2(Factor(s, 0) / 0.01), 0, 1.0 / 16 + 0.05);
  EXPECT_NEAR(std::log2(Factor(s, 1) / 3.0), 0, 1.0 / 16 + 0.05);
}

TEST(NeuralScales, OutliersAndNonFiniteValuesDoNotWiden) {
  std::vector<float> values = GaussianValues(1024, 2);
  values[5] = 500;
  values[6] = std::numeric_limits<float>::infinity();
  values[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_NEAR(std::log2(Factor(ChooseNeuralScales(values, 1024, 1), 0)), 0, 1.0 / 16 + 0.1);
}

TEST(NeuralScales, ZerosAndExtremesStayNormal) {
  const std::vector<float> values = {0, 1e-38F, 3e38F, 0, 1e-38F, 3e38F};
  const NeuralScales s = ChooseNeuralScales(values, 2, 3);
  for (size_t i = 0; i < 3; ++i) EXPECT_TRUE(std::isnormal(static_cast<float>(Factor(s, i))));
  const std::vector<float> zeros(8, 0);
  EXPECT_EQ(Factor(ChooseNeuralScales(zeros, 4, 2), 1), 1.0);
}

}  // namespace
}  // namespace nwc
