#include "encoder/neural/codec_trainer.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>
#include <numbers>
#include <sstream>

#include "encoder/neural/training_state.h"

namespace nwc {
namespace {

constexpr double kBeta1 = 0.9, kBeta2 = 0.999, kAdamEpsilon = 1e-8;
// The prior is a few numbers a channel and has to keep up with the latents.
constexpr double kPriorRateFactor = 10;
constexpr int64_t kValidationWeights = 1 << 18;
constexpr int64_t kEvaluationChunks = 4096;  // at once

enum Stream : uint64_t { kNetInit, kPriorInit, kTrainingBatch };

uint64_t Mix(uint64_t x) {  // SplitMix64
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

std::vector<double> Inverse(std::vector<double> values) {
  for (double& v : values) v = 1 / v;
  return values;
}

NetShape AnalysisShape(const NeuralTrainingOptions& o) {
  return {o.chunk, o.width, o.latents, o.blocks, static_cast<int64_t>(o.rate_weights.size())};
}

NetShape SynthesisShape(const NeuralTrainingOptions& o) {
  return {o.latents, o.width, o.chunk, o.blocks, static_cast<int64_t>(o.rate_weights.size())};
}

torch::Tensor AsRows(std::vector<float>* values, int64_t chunk) {
  const auto rows = static_cast<int64_t>(values->size()) / chunk;
  return torch::from_blob(values->data(), {rows, chunk});
}

}  // namespace

std::vector<double> FirstGains(const NeuralTrainingOptions& options) {
  std::vector<double> gains;
  for (const double c : options.rate_weights) {
    gains.push_back(std::sqrt(options.lambda * std::numbers::ln2 / (6 * c)));
  }
  return gains;
}

at::Generator StepGenerator(uint64_t seed, uint64_t stream, uint64_t step) {
  return at::make_generator<at::CPUGeneratorImpl>(Mix(Mix(Mix(seed) + stream) + step));
}

CodecTrainer::CodecTrainer(const NeuralTrainingOptions& options, ChunkPool pool,
                           torch::Device device)
    : CodecTrainer(options, std::move(pool), device, FirstGains(options)) {}

CodecTrainer::CodecTrainer(const NeuralTrainingOptions& options, ChunkPool pool,
                           torch::Device device, std::vector<double> gains)
    : options_(options),
      qualities_(static_cast<int64_t>(options.rate_weights.size())),
      fingerprint_(pool.fingerprint),
      device_(device),
      training_storage_(std::move(pool.training)),
      validation_storage_(std::move(pool.validation)),
      training_(AsRows(&training_storage_, options.chunk).to(device)),
      validation_(AsRows(&validation_storage_, options.chunk).to(device)),
      rate_weights_(torch::tensor(options.rate_weights, torch::kFloat32).unsqueeze(1).to(device)),
      analysis_(AnalysisShape(options), gains, StepGenerator(options.seed, kNetInit, 0), device),
      // The same generator: the way back starts as the transpose of the way there.
      synthesis_(SynthesisShape(options), Inverse(gains), StepGenerator(options.seed, kNetInit, 0),
                 device),
      prior_(gains, options.latents, StepGenerator(options.seed, kPriorInit, 0), device) {
  for (const auto* net : {&analysis_, &synthesis_}) {
    net_parameters_.insert(net_parameters_.end(), net->parameters().begin(),
                           net->parameters().end());
  }
  prior_parameters_ = prior_.parameters();
  for (const auto* group : {&net_parameters_, &prior_parameters_}) {
    for (const auto& p : *group) {
      first_moments_.push_back(torch::zeros_like(p));
      second_moments_.push_back(torch::zeros_like(p));
    }
  }
}

CodecTrainer::Losses CodecTrainer::Evaluate(const torch::Tensor& x,
                                            const torch::Tensor& latents) const {
  // Means over the chunks of each quality: qualities × 1.
  const auto bits = prior_.Bits(latents).sum(2).mean(1, true) / options_.chunk;
  const auto mse = torch::square(synthesis_.Forward(latents) - x).mean({1, 2}).unsqueeze(1);
  const auto loss = options_.lambda * mse + rate_weights_ * bits;
  return {loss.mean(), mse.mean(), bits.mean()};
}

StepLosses CodecTrainer::Step() {
  const auto generator = StepGenerator(options_.seed, kTrainingBatch, step_);
  const int64_t each = options_.batch / qualities_;
  const auto chosen =
      torch::randint(training_.size(0), {qualities_ * each}, generator, torch::kInt64).to(device_);
  const auto x = training_.index_select(0, chosen).view({qualities_, each, options_.chunk});
  const auto noise = torch::rand({qualities_, each, options_.latents}, generator).to(device_) - 0.5;
  const Losses losses = Evaluate(x, analysis_.Forward(x) + noise);
  losses.loss.backward();
  UpdateParameters();
  ++step_;
  return {losses.loss.item<double>(), losses.mse.item<double>(), losses.bits.item<double>()};
}

double CodecTrainer::LearningRate() const {
  const auto step = static_cast<double>(step_), total = static_cast<double>(options_.steps);
  const auto warmup = std::min(static_cast<double>(options_.warmup_steps), total);
  if (step < warmup) return options_.learning_rate * (step + 1) / warmup;
  const double phase = (step - warmup) / std::max(total - warmup, 1.0);
  return options_.learning_rate * 0.5 * (1 + std::cos(std::numbers::pi * phase));
}

void CodecTrainer::UpdateParameters() {
  const torch::NoGradGuard no_grad;
  const auto update = [&](std::vector<torch::Tensor>& group, size_t first, double rate) {
    const auto at = static_cast<std::ptrdiff_t>(first);
    const auto size = static_cast<std::ptrdiff_t>(group.size());
    std::vector<torch::Tensor> gradients, steps;
    for (auto& p : group) {
      gradients.push_back(p.grad());
      steps.push_back(torch::full({}, static_cast<double>(step_ + 1), device_));
    }
    std::vector<torch::Tensor> first_moments(first_moments_.begin() + at,
                                             first_moments_.begin() + at + size);
    std::vector<torch::Tensor> second_moments(second_moments_.begin() + at,
                                              second_moments_.begin() + at + size);
    at::_fused_adam_(group, gradients, first_moments, second_moments, {}, steps, rate, kBeta1,
                     kBeta2, /*weight_decay=*/0, kAdamEpsilon, /*amsgrad=*/false,
                     /*maximize=*/false);
    for (auto& p : group) p.mutable_grad().reset();
  };
  const double rate = LearningRate();
  update(net_parameters_, 0, rate);
  update(prior_parameters_, net_parameters_.size(), rate * kPriorRateFactor);
}

double CodecTrainer::ValidationLoss() const {
  const torch::NoGradGuard no_grad;
  const int64_t count = std::min(validation_.size(0), kValidationWeights / options_.chunk);
  double sum = 0;
  for (int64_t begin = 0; begin < count; begin += kEvaluationChunks) {
    const int64_t size = std::min(kEvaluationChunks, count - begin);
    const auto x = validation_.narrow(0, begin, size).expand({qualities_, size, options_.chunk});
    const Losses losses = Evaluate(x, torch::round(analysis_.Forward(x)));
    sum += losses.loss.item<double>() * static_cast<double>(size);
  }
  return sum / static_cast<double>(count);
}

std::vector<torch::Tensor> CodecTrainer::StateTensors() const {
  std::vector<torch::Tensor> tensors;
  for (const auto* part :
       {&net_parameters_, &prior_parameters_, &first_moments_, &second_moments_}) {
    tensors.insert(tensors.end(), part->begin(), part->end());
  }
  return tensors;
}

// What must be equal for a state to fit: all that changes the result.
std::string CodecTrainer::Identity() const {
  const auto& o = options_;
  std::ostringstream text;
  text.precision(17);
  text << "chunk " << o.chunk << ", latents " << o.latents << ", width " << o.width << ", blocks "
       << int{o.blocks} << ", lambda " << o.lambda << ", steps " << o.steps << ", batch " << o.batch
       << ", learning rate " << o.learning_rate << ", warm-up " << o.warmup_steps << ", seed "
       << o.seed << ", validation interval " << o.validation_interval << ", rate weights";
  for (const double c : o.rate_weights) text << ' ' << c;
  text << ", data " << std::hex << fingerprint_;
  return text.str();
}

std::vector<uint8_t> CodecTrainer::Save() const {
  TrainingState state;
  state.identity = Identity();
  state.step = step_;
  state.curve = curve;
  state.sums = {sums.loss, sums.mse, sums.bits};
  for (const auto& there : StateTensors()) {
    const auto t = there.cpu();
    const float* values = t.const_data_ptr<float>();
    state.values.insert(state.values.end(), values, values + t.numel());
  }
  return SerializeTrainingState(state);
}

Status CodecTrainer::Restore(ByteSpan bytes) {
  NWC_ASSIGN_OR_RETURN(const TrainingState state, ParseTrainingState(bytes));
  if (state.identity != Identity()) {
    return Status(ErrorCode::kUsage, "the saved training is of other options or data:\n  saved: " +
                                         state.identity + "\n  now:   " + Identity());
  }
  const auto tensors = StateTensors();
  int64_t total = 0;
  for (const auto& t : tensors) total += t.numel();
  if (static_cast<size_t>(total) != state.values.size() || state.step > options_.steps) {
    return Status(ErrorCode::kCorrupt, "the saved training does not fit its own options");
  }
  const torch::NoGradGuard no_grad;
  std::vector<float> values = state.values;
  float* from = values.data();
  for (const auto& t : tensors) {
    t.copy_(torch::from_blob(from, t.sizes()));
    from += t.numel();
  }
  step_ = state.step;
  curve = state.curve;
  sums = {state.sums[0], state.sums[1], state.sums[2]};
  return {};
}

}  // namespace nwc
