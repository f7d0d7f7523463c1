// A real encoder layer, packed in every profile: the parts that tensor-parallel ranks load, joined,
// are the whole tensors.
#include <gtest/gtest.h>

#include "encoder/encoder.h"
#include "tests/fuzz/neural_input.h"
#include "tests/loader/container_builder.h"
#include "tests/loader/parallel_join.h"
#include "tests/support/keeping_sink.h"
#include "tools/checkpoint.h"

namespace nwc {
namespace {

// Nets of random numbers: poor at coding, but as good as others at being cut.
NeuralModel RandomModel() {
  const NeuralSettings settings{.chunk = 8, .latents = 8, .width = 8, .blocks = 1, .qualities = 2};
  NeuralModel model;
  model.synthesis = MakeNeuralCodec(settings, 1);
  model.analysis = MakeNeuralCodec(settings, 2);
  model.analysis.tables.clear();
  model.expected_mse = {0.5f, 0.1f};
  return model;
}

class PackedLayer : public testing::TestWithParam<Profile> {
 protected:
  std::vector<uint8_t> PackLayer() {
    const auto checkpoint = Checkpoint::Open(LAYER_FOLDER);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
    const NeuralModel model = RandomModel();
    PackOptions options;
    options.profile = GetParam();
    options.neural = GetParam() == Profile::kNwc ? &model : nullptr;
    options.threads = 2;
    KeepingSink sink;
    const auto report = Pack(**checkpoint, {}, options, &sink);
    EXPECT_TRUE(report.ok()) << report.status().ToString();
    return sink.bytes;
  }
};

TEST_P(PackedLayer, RanksJoinedAreTheWholeTensors) {
  std::atomic<uint64_t> bytes_read = 0;
  const auto opened =
      Loader::OpenSource(std::make_unique<CountingSource>(PackLayer(), &bytes_read), LoadOptions());
  ASSERT_TRUE(opened.ok()) << opened.status().ToString();
  const Loader& loader = **opened;
  size_t split = 0;
  for (size_t i = 0; i < loader.index().tensors.size(); ++i) {
    const TensorInfo& info = loader.index().tensors[i];
    const auto whole = loader.Load(i);
    ASSERT_TRUE(whole.ok()) << whole.status().ToString();
    for (const size_t world : {2u, 4u}) {
      const uint64_t before = bytes_read;
      uint64_t touched = 0;
      EXPECT_EQ(JoinedRanks(loader, i, world, &touched), BytesOf(*whole))
          << info.name << ", world " << world;
      EXPECT_EQ(bytes_read - before, touched);
    }
    split += info.profile() == GetParam() && info.shape.size() == 2 ? 1 : 0;
  }
  EXPECT_EQ(split, 6u);
}

std::string TestName(const testing::TestParamInfo<Profile>& info) {
  return ProfileName(info.param);
}

INSTANTIATE_TEST_SUITE_P(Profiles, PackedLayer,
                         testing::Values(Profile::kRaw, Profile::kExact, Profile::kStream,
                                         Profile::kNwc),
                         TestName);

}  // namespace
}  // namespace nwc
