#include "encoder/evaluation.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "encoder/models/comparison.h"
#include "encoder/models/device.h"
#include "encoder/models/hidden_states.h"
#include "encoder/models/model.h"
#include "encoder/models/model_config.h"
#include "encoder/models/torch_errors.h"

namespace nwc {
namespace {

using torch::Tensor;

// Logits in memory at a time, of each model.
constexpr int64_t kLogitsAtOnce = 4 << 20;

// A model's final hidden states, and what makes logits or embeddings of them.
struct FinishedModel {
  std::unique_ptr<Model> model;
  std::vector<Tensor> hidden;  // one a batch
};

// Progress and cancellation of one stage.
struct StageControl {
  std::string stage;
  const EvaluationCallback& progress;
  const std::atomic<bool>* cancel;

  Status operator()(const std::string& item, uint64_t done, uint64_t total) const {
    if (progress) progress({stage, item, done, total});
    if (cancel != nullptr && cancel->load()) {
      return Status(ErrorCode::kCancelled, "stopped while evaluating");
    }
    return {};
  }
};

Result<FinishedModel> RunModel(std::unique_ptr<Model> model,
                               const std::vector<WindowBatch>& batches, const torch::Device& device,
                               const StageControl& control) {
  MoveTo(device, &model->parameters);
  auto hidden = RunLayers(*model, batches, device, control);
  if (!hidden.ok()) return hidden.status().WithContext(control.stage);
  return FinishedModel{std::move(model), std::move(*hidden)};
}

}  // namespace

struct Evaluator::Impl {
  std::string config;
  EvaluationOptions options;
  torch::Device device{torch::kCPU};
  std::vector<WindowBatch> batches;
  FinishedModel original;

  Status Start(const TensorSource& source, const TokenWindows& windows,
               const StageControl& control);
  Result<Evaluation> Compare(const FinishedModel* packed, const StageControl& control) const;

 private:
  Result<Evaluation> CompareLogits(const FinishedModel* packed, const StageControl& control) const;
  Result<Evaluation> CompareEmbeddings(const FinishedModel* packed,
                                       const StageControl& control) const;
  void AddWindow(size_t batch, int64_t row, const FinishedModel* packed,
                 LogitComparison* sums) const;
};

Status Evaluator::Impl::Start(const TensorSource& source, const TokenWindows& windows,
                              const StageControl& control) {
  NWC_ASSIGN_OR_RETURN(device, OpenDevice(options.device));
  auto model = OpenModel(config, source);
  if (!model.ok()) return model.status().WithContext(control.stage);
  NWC_ASSIGN_OR_RETURN(batches, MakeBatches(windows, **model, device));
  if (!(*model)->is_encoder() && batches.front().ids.size(1) < 2) {
    return Status(ErrorCode::kUsage, "windows of one token have no next token to predict");
  }
  NWC_ASSIGN_OR_RETURN(original, RunModel(std::move(*model), batches, device, control));
  return {};
}

// Window `row` of a batch: the logits of a few positions at a time.
void Evaluator::Impl::AddWindow(size_t batch, int64_t row, const FinishedModel* packed,
                                LogitComparison* sums) const {
  const Tensor ids = batches[batch].ids[row];
  const int64_t predicted = ids.size(0) - 1;
  const int64_t most = std::max<int64_t>(1, kLogitsAtOnce / original.model->vocabulary_size());
  for (int64_t begin = 0; begin < predicted; begin += most) {
    const int64_t count = std::min(most, predicted - begin);
    const Tensor next = ids.narrow(0, begin + 1, count);
    const auto logits = [&](const FinishedModel& m) {
      return m.model->Head(m.hidden[batch].narrow(0, row, 1).narrow(1, begin, count))[0];
    };
    const Tensor reference = logits(original);
    sums->Add(reference, packed == nullptr ? reference : logits(*packed), next);
  }
}

Result<Evaluation> Evaluator::Impl::CompareLogits(const FinishedModel* packed,
                                                  const StageControl& control) const {
  uint64_t done = 0, total = 0;
  for (const WindowBatch& batch : batches) total += batch.windows.size();
  LogitComparison sums;
  for (size_t b = 0; b < batches.size(); ++b) {
    for (size_t row = 0; row < batches[b].windows.size(); ++row) {
      AddWindow(b, static_cast<int64_t>(row), packed, &sums);
      const std::string item = "window " + std::to_string(batches[b].windows[row]);
      NWC_RETURN_IF_ERROR(control(item, ++done, total));
    }
  }
  return sums.Means();
}

Result<Evaluation> Evaluator::Impl::CompareEmbeddings(const FinishedModel* packed,
                                                      const StageControl& control) const {
  CosineComparison sums;
  const FinishedModel& other = packed == nullptr ? original : *packed;
  for (size_t b = 0; b < batches.size(); ++b) {
    sums.Add(original.model->Head(original.hidden[b]), other.model->Head(other.hidden[b]));
    NWC_RETURN_IF_ERROR(control("sentences", b + 1, batches.size()));
  }
  return sums.Means();
}

Result<Evaluation> Evaluator::Impl::Compare(const FinishedModel* packed,
                                            const StageControl& control) const {
  return original.model->is_encoder() ? CompareEmbeddings(packed, control)
                                      : CompareLogits(packed, control);
}

Result<ModelFacts> DescribeModel(const std::string& config) {
  NWC_ASSIGN_OR_RETURN(const ModelConfig parsed, ParseModelConfig(config));
  return ModelFacts{parsed.is_encoder(), static_cast<size_t>(parsed.max_length),
                    static_cast<size_t>(parsed.vocabulary)};
}

Evaluator::Evaluator(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Evaluator::~Evaluator() = default;

Result<std::unique_ptr<Evaluator>> Evaluator::Create(const std::string& config,
                                                     const TensorSource& original,
                                                     const TokenWindows& windows,
                                                     const EvaluationOptions& options,
                                                     const EvaluationCallback& progress,
                                                     const std::atomic<bool>* cancel) {
  auto impl = std::make_unique<Impl>();
  impl->config = config;
  impl->options = options;
  NWC_RETURN_IF_ERROR(CatchTorchErrors([&] {
    const torch::NoGradGuard no_grad;
    const ThreadScope threads(options.threads);
    return impl->Start(original, windows, {"original model", progress, cancel});
  }));
  return std::unique_ptr<Evaluator>(new Evaluator(std::move(impl)));
}

Result<Evaluation> Evaluator::Evaluate(const TensorSource* packed,
                                       const EvaluationCallback& progress,
                                       const std::atomic<bool>* cancel) {
  const StageControl running{"packed model", progress, cancel};
  const StageControl comparing{"comparing", progress, cancel};
  return CatchTorchErrors([&]() -> Result<Evaluation> {
    const torch::NoGradGuard no_grad;
    const ThreadScope threads(impl_->options.threads);
    if (packed == nullptr) return impl_->Compare(nullptr, comparing);
    auto model = OpenModel(impl_->config, *packed);
    if (!model.ok()) return model.status().WithContext(running.stage);
    NWC_ASSIGN_OR_RETURN(const FinishedModel finished,
                         RunModel(std::move(*model), impl_->batches, impl_->device, running));
    return impl_->Compare(&finished, comparing);
  });
}

Result<Evaluation> Evaluate(const std::string& config, const TensorSource& original,
                            const TensorSource* packed, const TokenWindows& windows,
                            const EvaluationOptions& options, const EvaluationCallback& progress,
                            const std::atomic<bool>* cancel) {
  NWC_ASSIGN_OR_RETURN(const auto evaluator,
                       Evaluator::Create(config, original, windows, options, progress, cancel));
  return evaluator->Evaluate(packed, progress, cancel);
}

}  // namespace nwc
