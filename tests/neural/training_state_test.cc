#include "encoder/neural/training_state.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

TrainingState Example() {
  TrainingState state;
  state.identity = "chunk 4";
  state.step = 17;
  state.curve = {{10, 1.5}};
  state.sums = {1, 2, 3};
  state.values = {0.5F, -1.0F};
  return state;
}

TEST(TrainingState, ReadsWhatItWrote) {
  const auto read = ParseTrainingState(SerializeTrainingState(Example()));
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->identity, "chunk 4");
  EXPECT_EQ(read->step, 17U);
  EXPECT_EQ(read->curve[0].loss, 1.5);
  EXPECT_EQ(read->sums, (std::array<double, 3>{1, 2, 3}));
  EXPECT_EQ(read->values, (std::vector<float>{0.5F, -1.0F}));
}

TEST(TrainingState, RejectsEveryCutAndFlip) {
  const std::vector<uint8_t> bytes = SerializeTrainingState(Example());
  for (size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(ParseTrainingState(ByteSpan(bytes).first(n)).status().code(), ErrorCode::kCorrupt);
    std::vector<uint8_t> flipped = bytes;
    flipped[n] ^= 0x10;
    EXPECT_EQ(ParseTrainingState(flipped).status().code(), ErrorCode::kCorrupt);
  }
}

}  // namespace
}  // namespace nwc
