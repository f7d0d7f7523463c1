#include "encoder/models/model_config.h"

#include <gtest/gtest.h>

#include <string>

namespace nwc {
namespace {

ModelConfig Parsed(const std::string& text) {
  const auto config = ParseModelConfig(text);
  EXPECT_TRUE(config.ok()) << config.status().ToString();
  return config.ok() ? *config : ModelConfig();
}

// The error names `field`.
void ExpectError(const std::string& text, ErrorCode code, const std::string& field) {
  const auto config = ParseModelConfig(text);
  ASSERT_FALSE(config.ok()) << text;
  EXPECT_EQ(config.status().code(), code) << config.status().ToString();
  EXPECT_NE(config.status().message().find(field), std::string::npos) << config.status().ToString();
}

TEST(ModelConfig, MissingFieldsAreTheDefaultsOfTheType) {
  const ModelConfig llama = Parsed(R"({"model_type": "llama"})");
  EXPECT_EQ(llama.layers, 32);
  EXPECT_EQ(llama.key_value_heads, 32);
  EXPECT_EQ(llama.head_size, 128);
  EXPECT_EQ(llama.intermediate, 11008);
  EXPECT_FALSE(llama.tied_head || llama.qkv_bias || llama.mlp_bias);
  const ModelConfig mistral = Parsed(R"({"model_type": "mistral"})");
  EXPECT_EQ(mistral.key_value_heads, 8);
  EXPECT_EQ(mistral.sliding_window, std::vector<int64_t>(32, 4096));
  const ModelConfig qwen2 = Parsed(R"({"model_type": "qwen2"})");
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.output_bias);
  EXPECT_EQ(qwen2.sliding_window, std::vector<int64_t>(32, 0));
  const ModelConfig qwen3 = Parsed(R"({"model_type": "qwen3", "hidden_size": 1024})");
  EXPECT_EQ(qwen3.head_size, 128);
  EXPECT_TRUE(qwen3.query_key_norm && !qwen3.qkv_bias);
  const ModelConfig bert = Parsed(R"({"model_type": "bert"})");
  EXPECT_TRUE(bert.is_encoder());
  EXPECT_EQ(bert.head_size, 64);
}

TEST(ModelConfig, NullIsTheDefaultExceptForTheSlidingWindow) {
  EXPECT_EQ(Parsed(R"({"model_type": "llama", "head_dim": null})").head_size, 128);
  EXPECT_EQ(Parsed(R"({"model_type": "mistral", "sliding_window": null})").sliding_window,
            std::vector<int64_t>(32, 0));
}

TEST(ModelConfig, OldAndNewSpellingOfRopeAgree) {
  const ModelConfig old = Parsed(R"({"model_type": "llama", "rope_theta": 5e5, "rope_scaling": {
      "type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
      "original_max_position_embeddings": 8192}})");
  const ModelConfig now = Parsed(R"({"model_type": "llama", "rope_parameters": {
      "rope_theta": 5e5, "rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
      "high_freq_factor": 4, "original_max_position_embeddings": 8192}})");
  for (const RopeConfig& rope : {old.rope, now.rope}) {
    EXPECT_EQ(rope.theta, 5e5);
    EXPECT_EQ(rope.scaling, RopeConfig::Scaling::kLlama3);
    EXPECT_EQ(rope.factor, 8);
    EXPECT_EQ(rope.original_length, 8192);
  }
}

TEST(ModelConfig, LayersThatSlide) {
  const std::string qwen = R"({"model_type": "qwen2", "num_hidden_layers": 3,
      "use_sliding_window": true, "sliding_window": 100, )";
  EXPECT_EQ(Parsed(qwen + R"("max_window_layers": 2})").sliding_window,
            (std::vector<int64_t>{0, 0, 100}));
  EXPECT_EQ(Parsed(qwen + R"("layer_types": ["sliding_attention", "full_attention",
                                             "sliding_attention"]})")
                .sliding_window,
            (std::vector<int64_t>{100, 0, 100}));
  ExpectError(qwen + R"("layer_types": ["full_attention"]})", ErrorCode::kUsage, "layer_types");
}

TEST(ModelConfig, WrongFieldsAreNamed) {
  ExpectError("", ErrorCode::kUsage, "config.json");
  ExpectError("[1]", ErrorCode::kUsage, "config.json");
  ExpectError("{}", ErrorCode::kUsage, "model_type");
  ExpectError(R"({"model_type": 3})", ErrorCode::kUsage, "model_type");
  const auto llama = [](const std::string& field) {
    return R"({"model_type": "llama", )" + field + "}";
  };
  ExpectError(llama(R"("hidden_size": "large")"), ErrorCode::kUsage, "hidden_size");
  ExpectError(llama(R"("hidden_size": -4)"), ErrorCode::kUsage, "hidden_size");
  ExpectError(llama(R"("hidden_size": 18446744073709551615)"), ErrorCode::kUsage, "hidden_size");
  ExpectError(llama(R"("num_hidden_layers": 2.5)"), ErrorCode::kUsage, "num_hidden_layers");
  ExpectError(llama(R"("num_key_value_heads": 5)"), ErrorCode::kUsage, "num_key_value_heads");
  ExpectError(llama(R"("head_dim": 63)"), ErrorCode::kUsage, "head_dim");
  ExpectError(llama(R"("rms_norm_eps": 0)"), ErrorCode::kUsage, "rms_norm_eps");
  ExpectError(llama(R"("mlp_bias": 1)"), ErrorCode::kUsage, "mlp_bias");
  ExpectError(llama(R"("rope_scaling": [2])"), ErrorCode::kUsage, "rope_scaling");
  ExpectError(llama(R"("rope_scaling": {"type": "linear"})"), ErrorCode::kUsage, "factor");
}

TEST(ModelConfig, WhatNoModelDoesIsNamed) {
  const auto expect = [](const std::string& text, const std::string& value) {
    ExpectError(text, ErrorCode::kUnsupported, value);
  };
  expect(R"({"model_type": "mamba"})", "mamba");
  expect(R"({"model_type": "llama", "hidden_act": "gelu"})", "gelu");
  expect(R"({"model_type": "llama", "rope_scaling": {"rope_type": "yarn", "factor": 4}})", "yarn");
  expect(R"({"model_type": "llama", "partial_rotary_factor": 0.5})", "partial_rotary_factor");
  expect(R"({"model_type": "bert", "hidden_act": "gelu_new"})", "gelu_new");
  expect(R"({"model_type": "bert", "position_embedding_type": "relative_key"})", "relative_key");
}

TEST(ModelConfigLimits, MoreLayersThanAnyModelHasAreRefusedBeforeTheyAreAllocated) {
  for (const char* type : {"llama", "bert"}) {
    const auto config = ParseModelConfig(std::string("{\"model_type\": \"") + type +
                                         "\", \"num_hidden_layers\": 2000000000}");
    EXPECT_EQ(config.status().code(), ErrorCode::kUsage);
    EXPECT_NE(config.status().message().find("num_hidden_layers"), std::string::npos);
  }
}

}  // namespace
}  // namespace nwc
