#include "tools/train_arguments.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

Result<TrainCommand> Parse(std::vector<std::string> line) { return ParseTrainArguments(line); }

TEST(TrainArguments, TrainsStreamTablesUnlessToldOtherwise) {
  const auto command = Parse({"model", "-o", "c.txt", "--lambda", "0.2", "--trellis", "4"});
  ASSERT_TRUE(command.ok()) << command.status().ToString();
  EXPECT_EQ(command->arguments->architecture, TrainArchitecture::kStream);
  EXPECT_EQ(command->arguments->stream.lambda, 0.2);
  EXPECT_EQ(command->arguments->stream.trellis, TrellisId::kFourStates);
}

TEST(TrainArguments, OptionsReplaceThePreset) {
  const auto command = Parse({"a", "b", "--arch", "nwc", "--preset", "published", "--lambda", "90",
                              "--steps", "7", "--rate-weights", "3", "1", "-o", "c.safetensors"});
  ASSERT_TRUE(command.ok()) << command.status().ToString();
  const TrainArguments& a = *command->arguments;
  EXPECT_EQ(a.checkpoints.size(), 2U);
  EXPECT_EQ(a.neural.width, 512);
  EXPECT_EQ(a.neural.lambda, 90);
  EXPECT_EQ(a.neural.steps, 7U);
  EXPECT_EQ(a.neural.rate_weights, (std::vector<double>{3, 1}));
}

TEST(TrainArguments, RefusesOptionsOfTheOtherArchitecture) {
  EXPECT_EQ(Parse({"a", "-o", "c", "--steps", "5"}).status().code(), ErrorCode::kUsage);
  EXPECT_EQ(Parse({"a", "-o", "c", "--arch", "nwc", "--rounds", "5"}).status().code(),
            ErrorCode::kUsage);
  EXPECT_EQ(Parse({"a", "-o", "c", "--arch", "nwc", "--chunk", "99"}).status().code(),
            ErrorCode::kUsage);
  EXPECT_EQ(Parse({"a", "-o", "c", "--arch", "nwc", "--lambda", "0"}).status().code(),
            ErrorCode::kUsage);
}

TEST(TrainArguments, ANetCanBeTrainedOnAGpu) {
  const auto on_cpu = Parse({"a", "-o", "c", "--arch", "nwc"});
  const auto on_gpu = Parse({"a", "-o", "c", "--arch", "nwc", "--device", "cuda"});
  ASSERT_TRUE(on_cpu.ok() && on_gpu.ok());
  EXPECT_EQ(on_cpu->arguments->neural.device, Device::kCpu);
  EXPECT_EQ(on_gpu->arguments->neural.device, Device::kCuda);
  EXPECT_EQ(Parse({"a", "-o", "c", "--arch", "nwc", "--device", "tpu"}).status().code(),
            ErrorCode::kUsage);
  EXPECT_EQ(Parse({"a", "-o", "c", "--device", "cuda"}).status().code(), ErrorCode::kUsage);
}

TEST(TrainArguments, HelpIsText) {
  const auto command = Parse({"--help"});
  ASSERT_TRUE(command.ok());
  EXPECT_FALSE(command->arguments);
  EXPECT_NE(command->text.find("--arch"), std::string::npos);
}

}  // namespace
}  // namespace nwc
