#include "encoder/models/bert.h"

#include <string>
#include <utility>
#include <vector>

#include "encoder/models/weights.h"

namespace nwc {
namespace {

using torch::Tensor;

Tensor LayerNorm(const TensorMap& parameters, const std::string& name, const Tensor& x,
                 double epsilon) {
  return torch::layer_norm(x, {x.size(-1)}, parameters.at(name + ".weight"),
                           parameters.at(name + ".bias"), epsilon);
}

void WantNorm(const std::string& name, int64_t size, std::vector<WantedTensor>* wanted) {
  wanted->push_back({name + ".weight", {size}});
  wanted->push_back({name + ".bias", {size}});
}

class BertLayer : public Layer {
 public:
  BertLayer(ModelConfig config, std::string prefix)
      : config_(std::move(config)), prefix_(std::move(prefix)) {}

  Tensor Forward(const Tensor& hidden, const LinearObserver& observer) const override {
    const Tensor mixed = Linear("attention.output.dense", Attention(hidden, observer), observer);
    const Tensor x = Norm("attention.output.LayerNorm", hidden + mixed);
    const Tensor inner = torch::gelu(Linear("intermediate.dense", x, observer));
    return Norm("output.LayerNorm", x + Linear("output.dense", inner, observer));
  }

  // Every tensor of the layer.
  [[nodiscard]] std::vector<WantedTensor> Wanted() const {
    std::vector<WantedTensor> wanted;
    const auto linear = [&](const std::string& name, int64_t outputs, int64_t inputs) {
      wanted.push_back({prefix_ + name + ".weight", {outputs, inputs}});
      wanted.push_back({prefix_ + name + ".bias", {outputs}});
    };
    linear("attention.self.query", config_.hidden, config_.hidden);
    linear("attention.self.key", config_.hidden, config_.hidden);
    linear("attention.self.value", config_.hidden, config_.hidden);
    linear("attention.output.dense", config_.hidden, config_.hidden);
    linear("intermediate.dense", config_.intermediate, config_.hidden);
    linear("output.dense", config_.hidden, config_.intermediate);
    WantNorm(prefix_ + "attention.output.LayerNorm", config_.hidden, &wanted);
    WantNorm(prefix_ + "output.LayerNorm", config_.hidden, &wanted);
    return wanted;
  }

 private:
  [[nodiscard]] Tensor Norm(const std::string& part, const Tensor& x) const {
    return LayerNorm(parameters, prefix_ + part, x, config_.norm_epsilon);
  }

  [[nodiscard]] Tensor Linear(const std::string& part, const Tensor& x,
                              const LinearObserver& observer) const {
    return ObservedLinear(*this, prefix_ + part, x, observer);
  }

  // windows × length × hidden to windows × heads × length × head size.
  [[nodiscard]] Tensor Heads(const Tensor& x) const {
    return x.view({x.size(0), x.size(1), config_.heads, config_.head_size}).transpose(1, 2);
  }

  [[nodiscard]] Tensor Attention(const Tensor& x, const LinearObserver& observer) const {
    const Tensor queries = Heads(Linear("attention.self.query", x, observer));
    const Tensor keys = Heads(Linear("attention.self.key", x, observer));
    const Tensor values = Heads(Linear("attention.self.value", x, observer));
    return torch::scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2);
  }

  const ModelConfig config_;
  std::string prefix_;
};

class BertModel : public Model {
 public:
  BertModel(ModelConfig config, const TensorSource& source)
      : config_(std::move(config)), weights_(source) {
    // Checkpoints with a head for some task have the prefix.
    prefix_ = weights_.Has("bert.embeddings.word_embeddings.weight") ? "bert." : "";
  }

  Status LoadOuter() {
    std::vector<WantedTensor> wanted = {
        {Outer("word_embeddings.weight"), {config_.vocabulary, config_.hidden}},
        {Outer("position_embeddings.weight"), {config_.max_length, config_.hidden}},
        {Outer("token_type_embeddings.weight"), {config_.token_types, config_.hidden}}};
    WantNorm(Outer("LayerNorm"), config_.hidden, &wanted);
    NWC_ASSIGN_OR_RETURN(parameters, weights_.ReadAll(wanted));
    return {};
  }

  [[nodiscard]] int layer_count() const override { return config_.layers; }
  [[nodiscard]] int64_t vocabulary_size() const override { return config_.vocabulary; }
  [[nodiscard]] bool is_encoder() const override { return true; }
  [[nodiscard]] int64_t max_length() const override { return config_.max_length; }

  [[nodiscard]] Result<std::unique_ptr<Layer>> LoadLayer(int layer) const override {
    auto loaded = std::make_unique<BertLayer>(
        config_, prefix_ + "encoder.layer." + std::to_string(layer) + ".");
    NWC_ASSIGN_OR_RETURN(loaded->parameters, weights_.ReadAll(loaded->Wanted()));
    return std::unique_ptr<Layer>(std::move(loaded));
  }

  [[nodiscard]] Tensor Embed(const Tensor& ids) const override {
    const Tensor words = torch::embedding(parameters.at(Outer("word_embeddings.weight")), ids);
    const Tensor types = parameters.at(Outer("token_type_embeddings.weight"))[0];
    const Tensor positions =
        parameters.at(Outer("position_embeddings.weight")).narrow(0, 0, ids.size(1));
    return LayerNorm(parameters, Outer("LayerNorm"), words + types + positions,
                     config_.norm_epsilon);
  }

  [[nodiscard]] Tensor Head(const Tensor& hidden) const override {
    const Tensor mean = hidden.mean(1);
    return mean / mean.norm(2, -1, /*keepdim=*/true).clamp_min(1e-12);
  }

 private:
  [[nodiscard]] std::string Outer(const std::string& name) const {
    return prefix_ + "embeddings." + name;
  }

  const ModelConfig config_;
  Weights weights_;
  std::string prefix_;
};

}  // namespace

Result<std::unique_ptr<Model>> OpenBert(const ModelConfig& config, const TensorSource& source) {
  auto model = std::make_unique<BertModel>(config, source);
  NWC_RETURN_IF_ERROR(model->LoadOuter());
  return std::unique_ptr<Model>(std::move(model));
}

}  // namespace nwc
