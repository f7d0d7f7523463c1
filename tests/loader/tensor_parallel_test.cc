#include "loader/tensor_parallel.h"

#include <gtest/gtest.h>

#include "tests/loader/container_builder.h"
#include "tests/loader/parallel_join.h"
#include "tests/loader/slice_support.h"

namespace nwc {
namespace {

TensorInfo Info(const std::vector<uint64_t>& shape, uint64_t rows, uint64_t columns) {
  TensorInfo info;
  info.name = "w";
  info.shape = shape;
  info.rows = rows;
  info.columns = columns;
  return info;
}

TensorSlice Slice(const TensorInfo& info, size_t rank, size_t world, ParallelKind kind) {
  const auto slice = SliceOf(info, {rank, world}, kind);
  EXPECT_TRUE(slice.ok()) << slice.status().ToString();
  return slice.ok() ? *slice : TensorSlice{};
}

TEST(TensorParallel, KnowsTheUsualNames) {
  const auto kind = [](const std::string& name) {
    const auto found = ParallelKindOf(name);
    EXPECT_TRUE(found.ok()) << found.status().ToString();
    return *found;
  };
  for (const char* name :
       {"model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.bias",
        "model.layers.0.mlp.gate_proj.weight", "model.layers.0.mlp.up_proj.weight",
        "decoder.layers.1.fc1.weight", "decoder.layers.1.fc1.bias",
        "encoder.layer.0.attention.self.query.weight", "encoder.layer.0.intermediate.dense.bias",
        "model.layers.0.block_sparse_moe.experts.3.w1.weight", "h.0.mlp.c_fc.weight"}) {
    EXPECT_EQ(kind(name), ParallelKind::kColumn) << name;
  }
  for (const char* name :
       {"model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.down_proj.weight",
        "decoder.layers.1.fc2.weight", "encoder.layer.0.output.dense.weight",
        "encoder.layer.0.attention.output.dense.weight",
        "gpt_neox.layers.0.attention.dense.weight"}) {
    EXPECT_EQ(kind(name), ParallelKind::kRow) << name;
  }
  for (const char* name : {"model.embed_tokens.weight", "lm_head.weight", "lm_head.bias",
                           "embeddings.word_embeddings.weight", "wte.weight"}) {
    EXPECT_EQ(kind(name), ParallelKind::kVocabulary) << name;
  }
  for (const char* name :
       {"model.norm.weight", "model.layers.0.input_layernorm.weight", "decoder.layers.1.fc2.bias",
        "encoder.layer.0.attention.output.dense.bias", "encoder.layer.0.output.LayerNorm.weight",
        "pooler.dense.weight", "embeddings.position_embeddings.weight", "scale", ""}) {
    EXPECT_EQ(kind(name), ParallelKind::kReplicated) << name;
  }
  for (const char* name :
       {"model.layers.0.self_attn.qkv_proj.weight", "h.0.attn.c_attn.bias",
        "model.layers.0.mlp.gate_up_proj.weight", "attention.query_key_value.weight"}) {
    const auto fused = ParallelKindOf(name);
    ASSERT_FALSE(fused.ok());
    EXPECT_EQ(fused.status().code(), ErrorCode::kUnsupported);
    EXPECT_NE(fused.status().message().find(name), std::string::npos);
  }
}

TEST(TensorParallel, SplitsOutputsInputsAndVocabulary) {
  const TensorInfo weight = Info({12, 8}, 12, 8);
  EXPECT_EQ(Slice(weight, 1, 4, ParallelKind::kColumn), (TensorSlice{3, 6, 0, 8}));
  EXPECT_EQ(Slice(weight, 3, 4, ParallelKind::kRow), (TensorSlice{0, 12, 6, 8}));
  EXPECT_EQ(Slice(weight, 3, 4, ParallelKind::kReplicated), (TensorSlice{0, 12, 0, 8}));
  EXPECT_EQ(Slice(weight, 0, 1, ParallelKind::kRow), (TensorSlice{0, 12, 0, 8}));
  const TensorInfo vocabulary = Info({10, 8}, 10, 8);
  EXPECT_EQ(Slice(vocabulary, 2, 4, ParallelKind::kVocabulary), (TensorSlice{6, 9, 0, 8}));
  EXPECT_EQ(Slice(vocabulary, 3, 4, ParallelKind::kVocabulary), (TensorSlice{9, 10, 0, 8}));
}

TEST(TensorParallel, SplitsVectorsAlongTheAxisTheyLieOn) {
  EXPECT_EQ(Slice(Info({12}, 12, 1), 2, 3, ParallelKind::kColumn), (TensorSlice{8, 12, 0, 1}));
  EXPECT_EQ(Slice(Info({12}, 1, 12), 2, 3, ParallelKind::kColumn), (TensorSlice{0, 1, 8, 12}));
}

TEST(TensorParallel, SplitsAConvolutionByItsChannels) {
  const TensorInfo kernel = Info({4, 6, 3}, 4, 18);
  EXPECT_EQ(Slice(kernel, 1, 2, ParallelKind::kColumn), (TensorSlice{2, 4, 0, 18}));
  EXPECT_EQ(Slice(kernel, 1, 2, ParallelKind::kRow), (TensorSlice{0, 4, 9, 18}));
  EXPECT_EQ(SliceOf(kernel, {0, 9}, ParallelKind::kRow).status().code(), ErrorCode::kUsage);
}

TEST(TensorParallel, SaysWhatItCannotSplit) {
  const auto status = [](const TensorInfo& info, size_t rank, size_t world, ParallelKind kind) {
    return SliceOf(info, {rank, world}, kind).status();
  };
  const TensorInfo weight = Info({12, 8}, 12, 8);
  const Status uneven = status(weight, 0, 5, ParallelKind::kColumn);
  EXPECT_EQ(uneven.code(), ErrorCode::kUsage);
  EXPECT_NE(uneven.message().find("tensor 'w': dimension 0 has 12 elements, which a world of 5"),
            std::string::npos)
      << uneven.message();
  EXPECT_EQ(status(weight, 0, 3, ParallelKind::kRow).code(), ErrorCode::kUsage);
  EXPECT_EQ(status(weight, 4, 4, ParallelKind::kColumn).code(), ErrorCode::kUsage);
  EXPECT_EQ(status(weight, 0, 0, ParallelKind::kReplicated).code(), ErrorCode::kUsage);
  EXPECT_EQ(status(Info({5, 8}, 5, 8), 3, 4, ParallelKind::kVocabulary).code(), ErrorCode::kUsage);
  EXPECT_EQ(status(Info({8}, 8, 1), 0, 2, ParallelKind::kRow).code(), ErrorCode::kUsage);
  EXPECT_EQ(status(Info({}, 1, 1), 0, 2, ParallelKind::kColumn).code(), ErrorCode::kUsage);
  EXPECT_EQ(status(Info({12, 8}, 96, 1), 0, 2, ParallelKind::kColumn).code(),
            ErrorCode::kUnsupported);
  EXPECT_EQ(Slice(Info({0, 8}, 0, 8), 1, 2, ParallelKind::kRow), (TensorSlice{0, 0, 0, 8}));
}

TEST(TensorParallel, RanksJoinedAreTheWholeTensorAndReadOnlyTheirTiles) {
  ContainerBuilder builder;
  builder.AddStream("a.q_proj.weight", DType::kBF16, {256, 96, 64, 32});
  builder.AddStream("a.o_proj.weight", DType::kF16, {96, 256, 40, 64});
  builder.AddExact("a.fc1.weight", DType::kBF16, {128, 60, 50, 60});
  builder.AddExact("a.fc2.weight", DType::kF32, {60, 128, 7, 128});
  builder.AddRaw("a.gate_proj.weight", DType::kF32, {64, 32, 5, 32});
  builder.AddRaw("a.down_proj.weight", DType::kU8, {32, 64, 5, 64});
  builder.AddStream("embed_tokens.weight", DType::kBF16, {301, 64, 64, 64});
  builder.AddExact("norm.weight", DType::kF32, {1, 64, 1, 64});
  std::atomic<uint64_t> bytes_read = 0;
  const auto loader = Loader::OpenSource(
      std::make_unique<CountingSource>(builder.Finish(), &bytes_read), LoadOptions());
  ASSERT_TRUE(loader.ok()) << loader.status().ToString();
  for (size_t i = 0; i < builder.count(); ++i) {
    for (const size_t world : {1u, 2u, 4u}) {
      const uint64_t before = bytes_read;
      uint64_t touched = 0;
      EXPECT_EQ(JoinedRanks(**loader, i, world, &touched), builder.expected(i))
          << (*loader)->index().tensors[i].name << ", world " << world;
      EXPECT_EQ(bytes_read - before, touched);
    }
  }
}

}  // namespace
}  // namespace nwc
