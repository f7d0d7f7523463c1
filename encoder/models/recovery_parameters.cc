#include "encoder/models/recovery_parameters.h"

#include <cmath>
#include <utility>

#include "format/dtype.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

using torch::Tensor;

constexpr double kFirstDecay = 0.9, kSecondDecay = 0.99, kEpsilon = 1e-12;
constexpr double kGainUnits = 1024;

Tensor RoundTo(DType dtype, const Tensor& values) {
  if (dtype == DType::kF32) return values;
  const auto type = dtype == DType::kF16 ? torch::kFloat16 : torch::kBFloat16;
  return values.to(type).to(torch::kFloat32);
}

Tensor RoundedGains(const Tensor& delta) {
  return (delta.detach() * kGainUnits).round().clamp(kMinStepCode, kMaxStepCode);
}

}  // namespace

void RecoveryParameters::Add(const std::string& name, Tuned tuned, torch::IntArrayRef shape) {
  const auto options = torch::TensorOptions(torch::kFloat32).device(device_);
  tuned.delta = torch::zeros(shape, options).requires_grad_(true);
  tuned.first = torch::zeros(shape, options);
  tuned.second = torch::zeros(shape, options);
  tuned_[name] = std::move(tuned);
}

void RecoveryParameters::AddVector(const std::string& name, DType dtype, const Tensor& values) {
  const double rms = std::sqrt(values.square().mean().item<double>());
  if (!(rms > 0)) return;
  Tuned tuned;
  tuned.dtype = dtype;
  tuned.base = values.detach().clone();
  tuned.unit = rms;
  Add(name, std::move(tuned), values.sizes());
}

void RecoveryParameters::AddGains(const std::string& name, int64_t rows) {
  Tuned tuned;
  tuned.gains = true;
  Add(name, std::move(tuned), {rows});
}

// The straight-through estimator: forward the rounded value, backward the identity.
Tensor RecoveryParameters::Rounded(const Tuned& tuned) {
  const Tensor value = tuned.base + tuned.unit * tuned.delta;
  return value + (RoundTo(tuned.dtype, value) - value).detach();
}

void RecoveryParameters::ApplyVectors(std::map<std::string, Tensor>* parameters) const {
  for (auto& [name, tensor] : *parameters) {
    const auto found = tuned_.find(name);
    if (found != tuned_.end() && !found->second.gains) tensor = Rounded(found->second);
  }
}

void RecoveryParameters::Apply(Layer* layer) const {
  ApplyVectors(&layer->parameters);
  for (const auto& [name, tensor] : layer->parameters) {
    const auto found = tuned_.find(name);
    if (found == tuned_.end() || !found->second.gains) continue;
    layer->row_factors[name] = 1 + found->second.delta;
  }
}

void RecoveryParameters::Set(const Recovered& changes) {
  const torch::NoGradGuard no_gradients;
  for (const auto& [name, gains] : changes.gains) {
    const auto found = tuned_.find(name);
    if (found == tuned_.end()) continue;
    const Tensor codes = torch::tensor(std::vector<float>(gains.begin(), gains.end()));
    found->second.delta.copy_(codes / kGainUnits);
  }
  for (const auto& [name, bytes] : changes.vectors) {
    const auto found = tuned_.find(name);
    if (found == tuned_.end()) continue;
    Tuned& tuned = found->second;
    Tensor values = torch::empty(tuned.delta.sizes(), torch::kFloat32);
    ToFloat(tuned.dtype, bytes.data(), static_cast<size_t>(values.numel()),
            values.data_ptr<float>());
    tuned.delta.copy_((values.to(device_) - tuned.base) / tuned.unit);
  }
}

void RecoveryParameters::Step(const AdamStep& step) {
  const torch::NoGradGuard no_gradients;
  const auto number = static_cast<double>(step.number);
  const double first_scale = 1 / (1 - std::pow(kFirstDecay, number));
  const double second_scale = 1 / (1 - std::pow(kSecondDecay, number));
  for (auto& [name, tuned] : tuned_) {
    Tensor& gradient = tuned.delta.mutable_grad();
    if (!gradient.defined()) continue;
    tuned.first.mul_(kFirstDecay).add_(gradient, 1 - kFirstDecay);
    tuned.second.mul_(kSecondDecay).addcmul_(gradient, gradient, 1 - kSecondDecay);
    const Tensor root = (tuned.second * second_scale).sqrt_().add_(kEpsilon);
    tuned.delta.addcdiv_(tuned.first * first_scale, root, -step.rate);
    gradient.reset();
  }
}

Recovered RecoveryParameters::Changes() const {
  const torch::NoGradGuard no_gradients;
  Recovered changes;
  for (const auto& [name, tuned] : tuned_) {
    if (tuned.gains) {
      const Tensor codes = RoundedGains(tuned.delta).to(torch::kInt16).cpu().contiguous();
      if (!codes.any().item<bool>()) continue;
      const auto* begin = codes.data_ptr<int16_t>();
      changes.gains[name].assign(begin, begin + codes.numel());
      continue;
    }
    const Tensor value = RoundTo(tuned.dtype, tuned.base + tuned.unit * tuned.delta).cpu();
    if (value.equal(tuned.base.cpu())) continue;
    const Tensor floats = value.contiguous();
    const auto count = static_cast<size_t>(floats.numel());
    std::vector<uint8_t>& bytes = changes.vectors[name];
    bytes.resize(count * DTypeSize(tuned.dtype));
    FromFloat(tuned.dtype, floats.data_ptr<float>(), count, bytes.data());
  }
  return changes;
}

std::vector<float> RecoveryParameters::State() const {
  std::vector<float> state;
  for (const auto& [name, tuned] : tuned_) {
    for (const Tensor& part : {tuned.delta.detach(), tuned.first, tuned.second}) {
      const Tensor values = part.cpu().contiguous();
      const auto* begin = values.data_ptr<float>();
      state.insert(state.end(), begin, begin + values.numel());
    }
  }
  return state;
}

bool RecoveryParameters::Restore(const std::vector<float>& state) {
  const torch::NoGradGuard no_gradients;
  size_t wanted = 0, at = 0;
  for (const auto& [name, tuned] : tuned_) wanted += 3 * static_cast<size_t>(tuned.delta.numel());
  if (state.size() != wanted) return false;
  for (auto& [name, tuned] : tuned_) {
    for (Tensor* part : {&tuned.delta, &tuned.first, &tuned.second}) {
      Tensor values = torch::empty(part->sizes(), torch::kFloat32);
      std::copy_n(state.data() + at, values.numel(), values.data_ptr<float>());
      at += static_cast<size_t>(values.numel());
      part->copy_(values);
    }
  }
  return true;
}

}  // namespace nwc
