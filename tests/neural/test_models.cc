#include "tests/neural/test_models.h"

#include <gtest/gtest.h>

#include <random>

namespace nwc {

std::vector<float> GaussianValues(size_t count, uint32_t seed, float scale) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& v : values) v = normal(rng);
  return values;
}

std::vector<uint8_t> ToElements(DType dtype, const std::vector<float>& values) {
  std::vector<uint8_t> bytes(values.size() * DTypeSize(dtype));
  FromFloat(dtype, values.data(), values.size(), bytes.data());
  return bytes;
}

MemoryCheckpoint GaussianCheckpoint() {
  MemoryCheckpoint source;
  source.Add("layers.0.q_proj.weight", DType::kF32, {512, 512},
             ToElements(DType::kF32, GaussianValues(512 * 512, 1, 0.0625F)));
  return source;
}

NeuralTrainingOptions QuickOptions() {
  NeuralTrainingOptions options = *NeuralPreset("thin");
  options.blocks = 2;
  options.steps = 400;
  options.batch = 1024;
  options.warmup_steps = 40;
  options.lambda = 145;
  options.threads = 1;
  options.validation_interval = 100;
  options.checkpoint_interval = 100;
  return options;
}

const NeuralTrainingResult& QuickTraining() {
  static const NeuralTrainingResult result = [] {
    const MemoryCheckpoint source = GaussianCheckpoint();
    auto trained = TrainNeural({&source}, QuickOptions(), {}, {});
    EXPECT_TRUE(trained.ok()) << trained.status().ToString();
    return std::move(*trained);
  }();
  return result;
}

}  // namespace nwc
