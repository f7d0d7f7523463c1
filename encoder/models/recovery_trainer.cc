#include "encoder/models/recovery_trainer.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <utility>

#include "encoder/models/recovery_windows.h"

namespace nwc {
namespace {

using torch::Tensor;

constexpr int64_t kLogitsAtOnce = 4 << 20;        // of each model
constexpr uint64_t kLayersInMemory = 4ull << 30;  // bytes

uint64_t Bytes(const Layer& layer) {
  uint64_t bytes = 0;
  for (const auto& [name, tensor] : layer.parameters) bytes += tensor.nbytes();
  return bytes;
}

}  // namespace

Result<std::unique_ptr<RecoveryTrainer>> RecoveryTrainer::Create(
    const std::string& config, const TensorSource& original, const TunableModel& packed,
    const TokenWindows& windows, const torch::Device& device, const HiddenStep& control) {
  auto trainer = std::unique_ptr<RecoveryTrainer>(new RecoveryTrainer(device));
  NWC_RETURN_IF_ERROR(trainer->Start(config, original, packed, windows, control));
  return trainer;
}

Status RecoveryTrainer::Start(const std::string& config, const TensorSource& original,
                              const TunableModel& packed, const TokenWindows& windows,
                              const HiddenStep& control) {
  NWC_ASSIGN_OR_RETURN(original_, OpenModel(config, original));
  NWC_ASSIGN_OR_RETURN(packed_, OpenModel(config, packed));
  MoveTo(device_, &original_->parameters);
  MoveTo(device_, &packed_->parameters);
  for (const TokenWindows& group : GroupForSteps(windows)) {
    NWC_ASSIGN_OR_RETURN(auto batches, MakeBatches(group, *original_, device_));
    for (WindowBatch& b : batches) batches_.push_back(std::move(b));
  }
  {
    const torch::NoGradGuard no_gradients;
    NWC_ASSIGN_OR_RETURN(targets_, RunLayers(*original_, batches_, device_, control));
  }
  return DeclareParameters(packed);
}

Status RecoveryTrainer::DeclareParameters(const TunableModel& packed) {
  std::map<std::string, size_t> number_of;
  for (size_t i = 0; i < packed.tensors().size(); ++i) number_of[packed.tensors()[i].name] = i;
  const auto declare = [&](const std::map<std::string, Tensor>& parameters) {
    for (const auto& [name, tensor] : parameters) {
      const size_t i = number_of.at(name);
      if (tensor.dim() == 1) {
        parameters_.AddVector(name, packed.tensors()[i].dtype, tensor);
      } else if (packed.HasRowGains(i)) {
        parameters_.AddGains(name, tensor.size(0));
      }
    }
  };
  uint64_t bytes = 0;
  for (int l = 0; l < packed_->layer_count(); ++l) {
    NWC_ASSIGN_OR_RETURN(auto layer, packed_->LoadLayer(l));
    MoveTo(device_, &layer->parameters);
    declare(layer->parameters);
    bytes += Bytes(*layer);
    layers_.push_back(std::move(layer));
    if (bytes > kLayersInMemory) layers_.back().reset();
  }
  if (bytes > kLayersInMemory) layers_.clear();
  // What an encoder has outside its layers stands before them, where no gradient goes.
  if (!packed_->is_encoder()) {
    std::map<std::string, Tensor> outer = packed_->parameters;
    std::erase_if(outer, [](const auto& p) { return p.second.dim() != 1; });
    declare(outer);
  }
  return {};
}

Result<std::shared_ptr<Layer>> RecoveryTrainer::LayerNow(int layer) {
  std::shared_ptr<Layer> now;
  if (!layers_.empty()) {
    now = layers_[static_cast<size_t>(layer)];
  } else {
    NWC_ASSIGN_OR_RETURN(std::unique_ptr<Layer> loaded, packed_->LoadLayer(layer));
    MoveTo(device_, &loaded->parameters);
    now = std::move(loaded);
  }
  parameters_.Apply(now.get());
  return now;
}

// Sum over positions: KL(p_original || p_packed), or 1 − cosine of embeddings.
Tensor RecoveryTrainer::Loss(const Tensor& original, const Tensor& packed) const {
  if (packed_->is_encoder()) return (1 - torch::cosine_similarity(original, packed, -1)).sum();
  const Tensor p = original.log_softmax(-1), q = packed.log_softmax(-1);
  return (p.exp() * (p - q)).sum();
}

// Backward through what follows the layers, some positions at a time: logits are large. Gives the
// gradient of the mean loss on `hidden`.
Tensor RecoveryTrainer::HeadGradient(size_t batch, const Tensor& hidden) {
  const int64_t windows = hidden.size(0), length = hidden.size(1);
  const bool encoder = packed_->is_encoder();
  // The last position predicts nothing; an encoder's head wants whole windows.
  const int64_t used = encoder ? length : std::max<int64_t>(1, length - 1);
  const double scale = 1.0 / static_cast<double>(encoder ? windows : windows * used);
  const int64_t most =
      encoder ? length
              : std::clamp<int64_t>(kLogitsAtOnce / packed_->vocabulary_size() / windows, 1, used);
  const Tensor leaf = hidden.detach().requires_grad_(true);
  for (int64_t begin = 0; begin < used; begin += most) {
    const int64_t count = std::min(most, used - begin);
    Tensor target;
    {
      const torch::NoGradGuard no_gradients;
      target = original_->Head(targets_[batch].narrow(1, begin, count));
    }
    parameters_.ApplyVectors(&packed_->parameters);
    (Loss(target, packed_->Head(leaf.narrow(1, begin, count))) * scale).backward();
  }
  return leaf.grad();
}

Status RecoveryTrainer::Gradients(size_t batch) {
  std::vector<Tensor> inputs;
  {
    const torch::NoGradGuard no_gradients;
    inputs.push_back(packed_->Embed(batches_[batch].ids));
    for (int l = 0; l < packed_->layer_count(); ++l) {
      NWC_ASSIGN_OR_RETURN(const auto layer, LayerNow(l));
      inputs.push_back(layer->Forward(inputs.back(), {}));
    }
  }
  Tensor gradient = HeadGradient(batch, inputs.back());
  for (int l = packed_->layer_count(); l-- > 0;) {
    NWC_ASSIGN_OR_RETURN(const auto layer, LayerNow(l));
    inputs.pop_back();
    const Tensor input = inputs.back().detach().requires_grad_(l > 0);
    layer->Forward(input, {}).backward(gradient);
    gradient = input.grad();
  }
  return {};
}

Status RecoveryTrainer::Epoch(int epoch, int epochs, double rate, const HiddenStep& control) {
  const size_t steps = batches_.size();
  const double total = static_cast<double>(steps) * epochs;
  for (size_t b = 0; b < steps; ++b) {
    NWC_RETURN_IF_ERROR(Gradients(b));
    const size_t number = static_cast<size_t>(epoch) * steps + b;
    const double done = static_cast<double>(number) / total;
    parameters_.Step(
        {rate * 0.5 * (1 + std::cos(std::numbers::pi * done)), static_cast<int64_t>(number) + 1});
    NWC_RETURN_IF_ERROR(control("step", b + 1, steps));
  }
  return {};
}

}  // namespace nwc
