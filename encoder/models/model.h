// A transformer run layer by layer, so that a model larger than memory can be calibrated, evaluated
// and tuned: one layer's weights are in memory at a time, as float32.
//
// Only files of encoder/models and encoder/neural include this header: it brings in LibTorch.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "encoder/tensor_source.h"
#include "format/status.h"

namespace nwc {

// Sees every linear layer as it runs: `weight` is the name of its weight tensor in the checkpoint,
// x (… × inputs) what goes in, y (… × outputs) what comes out, bias included.
using LinearObserver =
    std::function<void(const std::string& weight, const torch::Tensor& x, const torch::Tensor& y)>;

// The weights of one layer and its forward pass; independent of the model it came from.
// `parameters` holds every tensor of the layer by its name in the checkpoint, float32; replacing or
// training a value changes what Forward computes.
class Layer {
 public:
  virtual ~Layer() = default;
  // hidden: windows × length × hidden size, float32, no padding. `observer` may be empty.
  virtual torch::Tensor Forward(const torch::Tensor& hidden,
                                const LinearObserver& observer) const = 0;
  std::map<std::string, torch::Tensor> parameters;
  // What the outputs of a linear layer are multiplied by before its bias, by the name of its
  // weight; as if its weight's rows were. None: 1.
  std::map<std::string, torch::Tensor> row_factors;
};

// The linear layer `name` of `layer` (its weight is name + ".weight", its bias, where there is one,
// name + ".bias") applied to x, seen by `observer`. For the models of this folder.
torch::Tensor ObservedLinear(const Layer& layer, const std::string& name, const torch::Tensor& x,
                             const LinearObserver& observer);

// Not thread-safe; LibTorch spreads the work over threads itself. Functions throw c10::Error as
// LibTorch does; the public headers of encoder/ turn that into Status.
class Model {
 public:
  virtual ~Model() = default;

  [[nodiscard]] virtual int layer_count() const = 0;
  [[nodiscard]] virtual int64_t vocabulary_size() const = 0;
  // True for sentence encoders (BERT): Head gives sentence embeddings instead of logits.
  [[nodiscard]] virtual bool is_encoder() const = 0;
  // The longest window the model takes.
  [[nodiscard]] virtual int64_t max_length() const = 0;

  // Reads layer `layer`, 0 … layer_count() − 1. Missing or misshaped tensors are kNotFound or
  // kUsage and name the tensor.
  [[nodiscard]] virtual Result<std::unique_ptr<Layer>> LoadLayer(int layer) const = 0;

  // ids: windows × length, int64, each below vocabulary_size(). Gives windows × length × hidden.
  [[nodiscard]] virtual torch::Tensor Embed(const torch::Tensor& ids) const = 0;
  // What follows the last layer. Language models: logits, windows × length × vocabulary. Encoders:
  // mean over the positions, of length 1: windows × hidden.
  [[nodiscard]] virtual torch::Tensor Head(const torch::Tensor& hidden) const = 0;

  // Tensors outside the layers (embeddings, final norm, head) by their names in the checkpoint,
  // float32; replacing a value changes what Embed and Head compute.
  std::map<std::string, torch::Tensor> parameters;
};

// Builds the model that config.json (its text in `config`) describes over the tensors of `source`,
// which must outlive it. kUnsupported for other architectures, naming the model type.
Result<std::unique_ptr<Model>> OpenModel(const std::string& config, const TensorSource& source);

}  // namespace nwc
