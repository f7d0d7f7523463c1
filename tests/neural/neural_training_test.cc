#include "encoder/neural_training.h"

#include <gtest/gtest.h>

#include "tests/neural/test_models.h"

namespace nwc {
namespace {

std::vector<uint8_t> AllBytes(const NeuralTrainingResult& result) {
  std::vector<uint8_t> bytes = *SerializeNeuralCodec(result.model.synthesis);
  for (const NeuralBlock& b : result.model.analysis.block) {
    const auto* p = reinterpret_cast<const uint8_t*>(b.weight.data());
    bytes.insert(bytes.end(), p, p + b.weight.size() * sizeof(float));
  }
  for (const NeuralValidation& v : result.curve) {
    const auto* p = reinterpret_cast<const uint8_t*>(&v.loss);
    bytes.insert(bytes.end(), p, p + sizeof v.loss);
  }
  return bytes;
}

// Entropy-coded scalar quantisation is 0.255 bit above the bound; the highest qualities add what
// 12-bit tables of hundreds of symbols cost, and what a short training leaves.
TEST(TrainNeural, ReachesScalarQuantisationOnAGaussian) {
  const NeuralTrainingResult& result = QuickTraining();
  ASSERT_EQ(result.report.size(), 4U);
  EXPECT_NEAR(result.report[0].bits, 3.2, 0.1);
  EXPECT_LT(result.report[0].gap, 0.275);
  EXPECT_LT(result.report[1].gap, 0.28);
  EXPECT_LT(result.report[3].gap, 0.35);
  for (size_t q = 1; q < 4; ++q) EXPECT_LT(result.report[q].mse, result.report[q - 1].mse);
  EXPECT_LT(result.curve.back().loss, result.curve.front().loss);
}

TEST(TrainNeural, GoesOnFromAStateToTheSameBytes) {
  const MemoryCheckpoint source = GaussianCheckpoint();
  std::vector<uint8_t> state;
  std::atomic<bool> cancel = false;
  NeuralTrainingHooks hooks;
  hooks.progress = [&](uint64_t done, uint64_t) { cancel = done >= 150; };
  hooks.checkpoint = [&](ByteSpan bytes) {
    state.assign(bytes.begin(), bytes.end());
    return Status();
  };
  hooks.cancel = &cancel;
  EXPECT_EQ(TrainNeural({&source}, QuickOptions(), {}, hooks).status().code(),
            ErrorCode::kCancelled);
  const auto resumed = TrainNeural({&source}, QuickOptions(), state, {});
  ASSERT_TRUE(resumed.ok()) << resumed.status().ToString();
  EXPECT_EQ(AllBytes(*resumed), AllBytes(QuickTraining()));

  NeuralTrainingOptions other = QuickOptions();
  other.lambda *= 2;
  EXPECT_EQ(TrainNeural({&source}, other, state, {}).status().code(), ErrorCode::kUsage);
  state[state.size() / 2] ^= 1;
  EXPECT_EQ(TrainNeural({&source}, QuickOptions(), state, {}).status().code(), ErrorCode::kCorrupt);
}

TEST(TrainNeural, ASeedMakesAnotherCodec) {
  const MemoryCheckpoint source = GaussianCheckpoint();
  NeuralTrainingOptions options = QuickOptions();
  options.steps = 5;
  const auto one = TrainNeural({&source}, options, {}, {});
  options.seed = 2;
  const auto two = TrainNeural({&source}, options, {}, {});
  EXPECT_NE(AllBytes(*one), AllBytes(*two));
}

TEST(TrainNeural, ReportsDivergence) {
  const MemoryCheckpoint source = GaussianCheckpoint();
  NeuralTrainingOptions options = QuickOptions();
  options.learning_rate = 1e9;
  bool kept = false;
  NeuralTrainingHooks hooks;
  hooks.checkpoint = [&](ByteSpan) {
    kept = true;
    return Status();
  };
  const Status status = TrainNeural({&source}, options, {}, hooks).status();
  EXPECT_EQ(status.code(), ErrorCode::kUsage);
  EXPECT_NE(status.message().find("diverged"), std::string::npos) << status.message();
  EXPECT_FALSE(kept);
}

TEST(TrainNeural, RefusesWhatCannotBe) {
  MemoryCheckpoint no_linear;
  no_linear.AddGaussian("norm.weight", DType::kF32, {64}, 1);
  EXPECT_EQ(TrainNeural({&no_linear}, QuickOptions(), {}, {}).status().code(), ErrorCode::kUsage);
  const auto refused = [](const auto& change) {
    NeuralTrainingOptions options = QuickOptions();
    change(&options);
    return CheckNeuralTrainingOptions(options).code() == ErrorCode::kUsage;
  };
  EXPECT_TRUE(refused([](auto* o) { o->chunk = 65; }));
  EXPECT_TRUE(refused([](auto* o) { o->width = 2; }));
  EXPECT_TRUE(refused([](auto* o) { o->lambda = 0; }));
  EXPECT_TRUE(refused([](auto* o) { o->rate_weights = {}; }));
  EXPECT_TRUE(refused([](auto* o) { o->rate_weights = {1, -1}; }));
  EXPECT_TRUE(refused([](auto* o) { o->batch = 1; }));
  EXPECT_EQ(NeuralPreset("broad").status().code(), ErrorCode::kUsage);
}

}  // namespace
}  // namespace nwc
