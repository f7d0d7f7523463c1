#include "encoder/table_training.h"

#include <gtest/gtest.h>

#include "tests/encoder/memory_checkpoint.h"

namespace nwc {
namespace {

TEST(GaussianTables, AreValid) {
  const Status status = GaussianTables().Validate();
  EXPECT_TRUE(status.ok()) << status.ToString();
}

TEST(TrainTables, IsDeterministicAndImprovesOnTheStart) {
  MemoryCheckpoint source;
  source.AddGaussian("layers.0.q_proj.weight", DType::kF32, {256, 256}, 1);
  TrainingOptions options;
  options.weights = 65536;
  options.rounds = 2;
  options.threads = 1;
  const auto one = TrainTables({&source}, options, {});
  ASSERT_TRUE(one.ok()) << one.status().ToString();
  options.threads = 3;
  const auto three = TrainTables({&source}, options, {});
  EXPECT_EQ(one->tables.frequencies, three->tables.frequencies);
  EXPECT_TRUE(one->tables.Validate().ok());
  // Eight states at about 4 bits: 0.09 bit to the Gaussian bound, plus what little data costs.
  const TableQuality& q = one->validation[40];
  EXPECT_NEAR(q.bits, 4.06, 0.1);
  EXPECT_LT(q.gap, 0.13);
}

TEST(TrainTables, NeedsLinearTensors) {
  MemoryCheckpoint source;
  source.AddGaussian("norm.weight", DType::kF32, {64}, 1);
  EXPECT_EQ(TrainTables({&source}, {}, {}).status().code(), ErrorCode::kUsage);
}

}  // namespace
}  // namespace nwc
