#include "loader/layer_order.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

std::vector<std::string> Ordered(const std::vector<std::string>& names) {
  Index index;
  for (const std::string& name : names) index.tensors.emplace_back().name = name;
  std::vector<std::string> ordered;
  for (const size_t number : LayerOrder(index)) ordered.push_back(names[number]);
  return ordered;
}

TEST(LayerOrder, EmbeddingsThenLayersThenTheRest) {
  EXPECT_EQ(Ordered({"lm_head.weight", "model.layers.10.q.weight", "model.layers.2.q.weight",
                     "model.embed_tokens.weight", "model.layers.2.a.weight", "model.norm.weight"}),
            (std::vector<std::string>{"model.embed_tokens.weight", "model.layers.2.q.weight",
                                      "model.layers.2.a.weight", "model.layers.10.q.weight",
                                      "lm_head.weight", "model.norm.weight"}));
}

TEST(LayerOrder, OutputEmbeddingsComeLast) {
  EXPECT_EQ(Ordered({"embed_out.weight", "gpt_neox.layers.0.w.weight", "gpt_neox.embed_in.weight"}),
            (std::vector<std::string>{"gpt_neox.embed_in.weight", "gpt_neox.layers.0.w.weight",
                                      "embed_out.weight"}));
  EXPECT_EQ(Ordered({"ln_f.weight", "h.0.w", "wte.weight", "wpe.weight"}),
            (std::vector<std::string>{"wte.weight", "wpe.weight", "h.0.w", "ln_f.weight"}));
}

TEST(LayerOrder, KnowsTheNamesOfGguf) {
  EXPECT_EQ(Ordered({"output_norm.weight", "blk.10.attn_q.weight", "blk.9.attn_q.weight",
                     "token_embd.weight"}),
            (std::vector<std::string>{"token_embd.weight", "blk.9.attn_q.weight",
                                      "blk.10.attn_q.weight", "output_norm.weight"}));
}

TEST(LayerOrder, OfNothingIsNothing) { EXPECT_TRUE(Ordered({}).empty()); }

}  // namespace
}  // namespace nwc
