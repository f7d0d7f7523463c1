#include "encoder/models/llama.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "encoder/models/weights.h"

namespace nwc {
namespace {

using torch::Tensor;

// Llama 3's rule: wavelengths shorter than original / high keep their frequency, those longer than
// original / low are slowed by `factor`, and the ones between are mixed of both.
double ScaledFrequency(double frequency, const RopeConfig& rope) {
  if (rope.scaling == RopeConfig::Scaling::kNone) return frequency;
  if (rope.scaling == RopeConfig::Scaling::kLinear) return frequency / rope.factor;
  const double turns = rope.original_length * frequency / (2 * std::numbers::pi);
  const double low = rope.low_frequency_factor, high = rope.high_frequency_factor;
  const double keep = std::clamp((turns - low) / (high - low), 0.0, 1.0);
  return keep * frequency + (1 - keep) * frequency / rope.factor;
}

// Radians a position, one for each pair of a head's numbers.
Tensor RopeFrequencies(const ModelConfig& config) {
  Tensor frequencies = torch::empty({config.head_size / 2}, torch::kFloat64);
  auto* values = frequencies.data_ptr<double>();
  for (int64_t i = 0; i < config.head_size / 2; ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.head_size);
    values[i] = ScaledFrequency(std::pow(config.rope.theta, -exponent), config.rope);
  }
  return frequencies;
}

struct Rotation {
  Tensor cosine, sine;  // length × head size
};

Rotation RotationOf(const Tensor& frequencies, const Tensor& hidden) {
  const Tensor positions = torch::arange(hidden.size(1), torch::kFloat64);
  const Tensor half = torch::outer(positions, frequencies);
  const Tensor angles = torch::cat({half, half}, 1);
  return {angles.cos().to(hidden.options()), angles.sin().to(hidden.options())};
}

// x: windows × heads × length × head size; numbers i and i + half form a pair.
Tensor Rotate(const Tensor& x, const Rotation& rotation) {
  const auto halves = x.chunk(2, -1);
  return x * rotation.cosine + torch::cat({-halves[1], halves[0]}, -1) * rotation.sine;
}

Tensor RmsNorm(const Tensor& x, const Tensor& weight, double epsilon) {
  return x * torch::rsqrt(x.square().mean(-1, /*keepdim=*/true) + epsilon) * weight;
}

// True where a query (row) sees a key (column): itself and the window − 1 before it.
Tensor SlidingMask(int64_t length, int64_t window, const torch::Device& device) {
  const Tensor positions =
      torch::arange(length, torch::TensorOptions(torch::kInt64).device(device));
  const Tensor distance = positions.unsqueeze(1) - positions.unsqueeze(0);
  return distance.ge(0).logical_and(distance.lt(window));
}

class LlamaLayer : public Layer {
 public:
  LlamaLayer(ModelConfig config, Tensor frequencies, int layer, std::string prefix)
      : config_(std::move(config)),
        frequencies_(std::move(frequencies)),
        window_(config_.sliding_window[static_cast<size_t>(layer)]),
        prefix_(std::move(prefix)) {}

  Tensor Forward(const Tensor& hidden, const LinearObserver& observer) const override {
    const Tensor x = hidden + Attention(Norm("input_layernorm", hidden), observer);
    return x + Mlp(Norm("post_attention_layernorm", x), observer);
  }

  // Every tensor of the layer.
  [[nodiscard]] std::vector<WantedTensor> Wanted() const {
    const int64_t queries = config_.heads * config_.head_size;
    const int64_t keys = config_.key_value_heads * config_.head_size;
    std::vector<WantedTensor> wanted = {{Name("input_layernorm"), {config_.hidden}},
                                        {Name("post_attention_layernorm"), {config_.hidden}}};
    const auto linear = [&](const std::string& name, int64_t outputs, int64_t inputs, bool bias) {
      wanted.push_back({Name(name), {outputs, inputs}});
      if (bias) wanted.push_back({prefix_ + name + ".bias", {outputs}});
    };
    linear("self_attn.q_proj", queries, config_.hidden, config_.qkv_bias);
    linear("self_attn.k_proj", keys, config_.hidden, config_.qkv_bias);
    linear("self_attn.v_proj", keys, config_.hidden, config_.qkv_bias);
    linear("self_attn.o_proj", config_.hidden, queries, config_.output_bias);
    linear("mlp.gate_proj", config_.intermediate, config_.hidden, config_.mlp_bias);
    linear("mlp.up_proj", config_.intermediate, config_.hidden, config_.mlp_bias);
    linear("mlp.down_proj", config_.hidden, config_.intermediate, config_.mlp_bias);
    if (config_.query_key_norm) {
      wanted.push_back({Name("self_attn.q_norm"), {config_.head_size}});
      wanted.push_back({Name("self_attn.k_norm"), {config_.head_size}});
    }
    return wanted;
  }

 private:
  [[nodiscard]] std::string Name(const std::string& part) const {
    return prefix_ + part + ".weight";
  }

  [[nodiscard]] Tensor Norm(const std::string& part, const Tensor& x) const {
    return RmsNorm(x, parameters.at(Name(part)), config_.norm_epsilon);
  }

  [[nodiscard]] Tensor Linear(const std::string& part, const Tensor& x,
                              const LinearObserver& observer) const {
    return ObservedLinear(*this, prefix_ + part, x, observer);
  }

  // windows × length × (heads · head size) to windows × heads × length × head size.
  [[nodiscard]] Tensor Heads(const Tensor& x, int64_t heads) const {
    return x.view({x.size(0), x.size(1), heads, config_.head_size}).transpose(1, 2);
  }

  // Each key or value head serves heads / key_value_heads queries in a row.
  [[nodiscard]] Tensor Repeated(const Tensor& x) const {
    const int64_t times = config_.heads / config_.key_value_heads;
    return times == 1 ? x : x.repeat_interleave(times, 1);
  }

  [[nodiscard]] Tensor Attention(const Tensor& x, const LinearObserver& observer) const {
    Tensor queries = Heads(Linear("self_attn.q_proj", x, observer), config_.heads);
    Tensor keys = Heads(Linear("self_attn.k_proj", x, observer), config_.key_value_heads);
    const Tensor values = Heads(Linear("self_attn.v_proj", x, observer), config_.key_value_heads);
    if (config_.query_key_norm) {
      queries = Norm("self_attn.q_norm", queries);
      keys = Norm("self_attn.k_norm", keys);
    }
    const Rotation rotation = RotationOf(frequencies_, x);
    const int64_t length = x.size(1);
    const bool slides = window_ > 0 && window_ < length;
    std::optional<Tensor> mask;
    if (slides) mask = SlidingMask(length, window_, x.device());
    const Tensor mixed = torch::scaled_dot_product_attention(
        Rotate(queries, rotation), Repeated(Rotate(keys, rotation)), Repeated(values), mask,
        /*dropout_p=*/0, /*is_causal=*/!slides);
    return Linear("self_attn.o_proj", mixed.transpose(1, 2).flatten(2), observer);
  }

  [[nodiscard]] Tensor Mlp(const Tensor& x, const LinearObserver& observer) const {
    const Tensor gate = Linear("mlp.gate_proj", x, observer);
    const Tensor up = Linear("mlp.up_proj", x, observer);
    return Linear("mlp.down_proj", torch::silu(gate) * up, observer);
  }

  const ModelConfig config_;
  Tensor frequencies_;
  int64_t window_;
  std::string prefix_;
};

class LlamaModel : public Model {
 public:
  LlamaModel(ModelConfig config, const TensorSource& source)
      : config_(std::move(config)), weights_(source), frequencies_(RopeFrequencies(config_)) {
    // Checkpoints of the bare decoder, without a head, leave the prefix out.
    prefix_ = weights_.Has("embed_tokens.weight") ? "" : "model.";
    embedding_ = prefix_ + "embed_tokens.weight";
    norm_ = prefix_ + "norm.weight";
    head_ = config_.tied_head ? embedding_ : "lm_head.weight";
  }

  Status LoadOuter() {
    const std::vector<int64_t> table = {config_.vocabulary, config_.hidden};
    std::vector<WantedTensor> wanted = {{embedding_, table}, {norm_, {config_.hidden}}};
    if (head_ != embedding_) wanted.push_back({head_, table});
    NWC_ASSIGN_OR_RETURN(parameters, weights_.ReadAll(wanted));
    return {};
  }

  [[nodiscard]] int layer_count() const override { return config_.layers; }
  [[nodiscard]] int64_t vocabulary_size() const override { return config_.vocabulary; }
  [[nodiscard]] bool is_encoder() const override { return false; }
  [[nodiscard]] int64_t max_length() const override { return config_.max_length; }

  [[nodiscard]] Result<std::unique_ptr<Layer>> LoadLayer(int layer) const override {
    auto loaded = std::make_unique<LlamaLayer>(config_, frequencies_, layer,
                                               prefix_ + "layers." + std::to_string(layer) + ".");
    NWC_ASSIGN_OR_RETURN(loaded->parameters, weights_.ReadAll(loaded->Wanted()));
    return std::unique_ptr<Layer>(std::move(loaded));
  }

  [[nodiscard]] Tensor Embed(const Tensor& ids) const override {
    return torch::embedding(parameters.at(embedding_), ids);
  }

  [[nodiscard]] Tensor Head(const Tensor& hidden) const override {
    const Tensor normed = RmsNorm(hidden, parameters.at(norm_), config_.norm_epsilon);
    return torch::linear(normed, parameters.at(head_));
  }

 private:
  const ModelConfig config_;
  Weights weights_;
  Tensor frequencies_;
  std::string prefix_, embedding_, norm_, head_;
};

}  // namespace

Result<std::unique_ptr<Model>> OpenLlama(const ModelConfig& config, const TensorSource& source) {
  auto model = std::make_unique<LlamaModel>(config, source);
  NWC_RETURN_IF_ERROR(model->LoadOuter());
  return std::unique_ptr<Model>(std::move(model));
}

}  // namespace nwc
