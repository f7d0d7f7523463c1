#include "tools/layer_kinds.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

TensorInfo Matrix(const std::string& name, bool lossy = false) {
  TensorInfo t;
  t.name = name;
  t.profile_value = static_cast<uint8_t>(lossy ? Profile::kStream : Profile::kRaw);
  t.rows = 10;
  t.columns = 8;
  t.chunks = {{0, 0, 56}};  // 80 bytes with its entry: 8 bits a weight
  if (lossy) t.stream = StreamInfo();
  return t;
}

TEST(TensorKind, IsTheNameWithoutItsLayer) {
  EXPECT_EQ(TensorKind("model.layers.3.mlp.down_proj.weight"), "mlp.down_proj");
  EXPECT_EQ(TensorKind("encoder.layer.0.attention.self.query.bias"), "attention.self.query.bias");
  EXPECT_EQ(TensorKind("model.embed_tokens.weight"), "model.embed_tokens");
  EXPECT_EQ(TensorKind("layers.3.mlp.experts.17.up_proj.weight"), "mlp.experts.*.up_proj");
}

TEST(TensorKind, IsNeverEmpty) {
  EXPECT_EQ(TensorKind("blocks.3.weight"), "blocks");
  EXPECT_EQ(TensorKind("3"), "*");
  EXPECT_EQ(TensorKind(".weight"), "weight");
}

TEST(BitsGrid, LossyKindsOfLayersComeFirst) {
  const BitsGrid grid = MakeBitsGrid({Matrix("embed"), Matrix("layers.0.norm"),
                                      Matrix("layers.0.q", true), Matrix("layers.2.q", true)});
  EXPECT_EQ(grid.kinds, (std::vector<std::string>{"q", "norm", "embed"}));
  EXPECT_EQ(grid.layers, (std::vector<std::string>{"-", "0", "2"}));
  EXPECT_EQ(grid.cells[0][1].bytes, 80u);
  EXPECT_TRUE(grid.cells[0][1].lossy);
  EXPECT_EQ(grid.cells[0][0].tensors, 0u);
  EXPECT_EQ(grid.of_kind[0].weights, 160u);
  EXPECT_EQ(grid.of_layer[1].tensors, 2u);
}

TEST(BitsGrid, IsBounded) {
  std::vector<TensorInfo> tensors;
  for (int i = 0; i < 300; ++i) {
    const std::string number = std::to_string(i);
    tensors.push_back(Matrix("layers." + number + ".w"));
    tensors.push_back(Matrix("kind" + number));
  }
  const BitsGrid grid = MakeBitsGrid(tensors);
  EXPECT_EQ(grid.layers.size(), kMostGridLayers);
  EXPECT_EQ(grid.layers_left_out, 301 - kMostGridLayers);
  ASSERT_EQ(grid.kinds.size(), kMostGridKinds);
  EXPECT_EQ(grid.kinds.back(), std::to_string(301 - kMostGridKinds + 1) + " other kinds");
  EXPECT_EQ(grid.of_kind.back().tensors, 301 - kMostGridKinds + 1);
}

}  // namespace
}  // namespace nwc
