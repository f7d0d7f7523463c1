#include "encoder/policy.h"

#include <gtest/gtest.h>

#include "tests/encoder/memory_checkpoint.h"

namespace nwc {
namespace {

SourceTensor Named(const std::string& name, std::vector<uint64_t> shape,
                   DType dtype = DType::kBF16) {
  return {name, dtype, std::move(shape), 0};
}

TEST(IsLinearWeight, FollowsTheDefaultRule) {
  EXPECT_TRUE(IsLinearWeight(Named("model.layers.0.self_attn.q_proj.weight", {64, 64})));
  EXPECT_TRUE(IsLinearWeight(Named("encoder.layer.0.attention.output.dense.weight", {384, 384})));
  EXPECT_TRUE(IsLinearWeight(Named("conv.weight", {64, 16, 2, 2})));
  EXPECT_TRUE(IsLinearWeight(Named("blk.0.attn_q.weight", {64, 64})));
  EXPECT_FALSE(IsLinearWeight(Named("token_embd.weight", {1000, 64})));
  EXPECT_FALSE(IsLinearWeight(Named("conv.weight", {64, 3, 3, 3})));
  EXPECT_FALSE(IsLinearWeight(Named("q_proj.weight", {63, 640})));
  EXPECT_FALSE(IsLinearWeight(Named("model.embed_tokens.weight", {1000, 64})));
  EXPECT_FALSE(IsLinearWeight(Named("embeddings.position_embeddings.weight", {512, 384})));
  EXPECT_FALSE(IsLinearWeight(Named("transformer.wte.weight", {1000, 64})));
  EXPECT_FALSE(IsLinearWeight(Named("lm_head.weight", {1000, 64})));
  EXPECT_FALSE(IsLinearWeight(Named("output.weight", {1000, 64})));
  EXPECT_FALSE(IsLinearWeight(Named("norm.weight", {4096})));
  EXPECT_FALSE(IsLinearWeight(Named("q_proj.weight", {640, 640}, DType::kI32)));
  EXPECT_FALSE(IsLinearWeight(Named("q_proj.weight", {0, 640})));
}

TEST(PlanTensors, OrdersByLayerAndAppliesTheLastMatchingRule) {
  MemoryCheckpoint source;
  for (const char* name :
       {"lm_head.weight", "model.embed_tokens.weight", "model.layers.10.w.weight",
        "model.layers.2.w.weight", "model.norm.weight"}) {
    source.Add(name, DType::kBF16, {64, 64}, {});
  }
  PackOptions options;
  options.rules = {{"layers", Profile::kRaw, 0}, {"layers\\.2\\.", Profile::kStream, 6}};
  const auto plans = PlanTensors(source, options);
  ASSERT_TRUE(plans.ok());
  std::vector<std::string> names;
  for (const TensorPlan& p : *plans) names.push_back(source.tensors()[p.source].name);
  EXPECT_EQ(names, (std::vector<std::string>{"model.embed_tokens.weight", "model.layers.2.w.weight",
                                             "model.layers.10.w.weight", "lm_head.weight",
                                             "model.norm.weight"}));
  EXPECT_EQ((*plans)[0].profile, Profile::kExact);
  EXPECT_EQ((*plans)[1].profile, Profile::kStream);
  EXPECT_EQ((*plans)[1].bits, 6);
  EXPECT_EQ((*plans)[2].profile, Profile::kRaw);
}

TEST(PlanTensors, NamesABadRegex) {
  MemoryCheckpoint source;
  source.Add("a", DType::kU8, {1}, {0});
  PackOptions options;
  options.include = "(";
  const auto plans = PlanTensors(source, options);
  EXPECT_EQ(plans.status().code(), ErrorCode::kUsage);
  EXPECT_NE(plans.status().message().find("--include '('"), std::string::npos);
}

TEST(ChooseTiles, StreamTilesAreWholeStripesOfAboutOneSize) {
  for (const uint64_t columns : {33u, 384u, 576u, 1536u, 4096u, 14336u}) {
    for (const uint64_t rows : {64u, 384u, 4096u}) {
      TensorInfo t;
      t.dtype = DType::kBF16;
      t.rows = rows;
      t.columns = columns;
      ChooseTiles(Profile::kStream, &t);
      EXPECT_EQ(t.tile_columns % 32, 0u);
      EXPECT_LE(uint64_t{t.tile_rows} * t.tile_columns, 128u << 10);
      EXPECT_LE(t.tile_rows, rows);
    }
  }
}

}  // namespace
}  // namespace nwc
