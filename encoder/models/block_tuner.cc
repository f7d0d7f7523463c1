#include <torch/torch.h>

#include <set>
#include <utility>

#include "encoder/models/device.h"
#include "encoder/models/hidden_states.h"
#include "encoder/models/recovery_parameters.h"
#include "encoder/models/recovery_windows.h"
#include "encoder/models/torch_errors.h"
#include "encoder/recovery.h"

namespace nwc {
namespace {

using torch::Tensor;

constexpr int kStepsOfMatrix = 8;    // Adam steps after each coded matrix
constexpr double kBlockRate = 1e-3;  // step size, relative to rms or gain 1
constexpr const char* kStage = "tuning blocks";

// Windows with their hidden states before the current layer of both models, and what the original
// gives behind it.
struct Stream {
  std::vector<WindowBatch> batches;
  std::vector<Tensor> original, packed;
};

class Tuner : public BlockTuner {
 public:
  Tuner(const TensorSource& source, const RecoveryOptions& options,
        const EvaluationCallback& progress, const std::atomic<bool>* cancel, torch::Device device)
      : source_(source),
        options_(options),
        progress_(progress),
        cancel_(cancel),
        device_(device),
        parameters_(device) {}

  Status Start(const std::string& config, const TokenWindows& windows) {
    const torch::NoGradGuard no_gradients;
    NWC_ASSIGN_OR_RETURN(model_, OpenModel(config, source_));
    MoveTo(device_, &model_->parameters);
    NWC_ASSIGN_OR_RETURN(const SplitWindows split, SplitForRecovery(windows));
    for (const TokenWindows& group : GroupForSteps(split.tuned)) {
      NWC_RETURN_IF_ERROR(Embed(group, &tuned_));
    }
    return Embed(split.held_out, &held_out_);
  }

  void Plan(std::span<const size_t> tensors) override {
    for (const size_t i : tensors) planned_.insert(source_.tensors()[i].name);
  }

  Status Tune(size_t tensor, MutableByteSpan elements) override {
    return Guarded([&]() -> Status {
      NWC_ASSIGN_OR_RETURN(const bool inside, Enter(tensor));
      const SourceTensor& source = source_.tensors()[tensor];
      if (!inside || !parameters_.Has(source.name)) return {};
      const torch::NoGradGuard no_gradients;
      const Tensor values = parameters_.Value(source.name).cpu().contiguous();
      FromFloat(source.dtype, values.data_ptr<float>(), static_cast<size_t>(values.numel()),
                elements.data());
      return {};
    });
  }

  Status Coded(size_t tensor, ByteSpan decoded, bool row_gains) override {
    return Guarded([&]() -> Status {
      NWC_ASSIGN_OR_RETURN(const bool inside, Enter(tensor));
      const SourceTensor& source = source_.tensors()[tensor];
      if (!inside || !parameters_.Has(source.name)) return {};
      Tensor& weight = layer_->parameters.at(source.name);
      Tensor values = torch::empty(weight.sizes(), torch::kFloat32);
      ToFloat(source.dtype, decoded.data(), static_cast<size_t>(values.numel()),
              values.data_ptr<float>());
      weight = values.to(device_);
      parameters_.Remove(source.name);
      if (row_gains) parameters_.AddGains(source.name, values.size(0));
      return TuneBlock(source.name);
    });
  }

  Result<Recovered> Finish() override {
    return CatchTorchErrors([&]() -> Result<Recovered> {
      const ThreadScope threads(options_.threads);
      if (layer_ != nullptr) LeaveLayer();
      return std::move(changes_);
    });
  }

 private:
  template <typename Work>
  Status Guarded(const Work& work) const {
    return CatchTorchErrors([&]() -> Status {
      const ThreadScope threads(options_.threads);
      return work();
    });
  }

  Status Embed(const TokenWindows& windows, Stream* stream) {
    NWC_ASSIGN_OR_RETURN(auto batches, MakeBatches(windows, *model_, device_));
    for (WindowBatch& batch : batches) {
      stream->original.push_back(model_->Embed(batch.ids));
      stream->packed.push_back(stream->original.back());
      stream->batches.push_back(std::move(batch));
    }
    return {};
  }

  // Makes the layer of `tensor` the current one; false for a tensor of no layer, or of one passed.
  Result<bool> Enter(size_t tensor) {
    const auto number = LayerNumber(source_.tensors()[tensor].name);
    const auto layers = static_cast<uint64_t>(model_->layer_count());
    if (!number || *number >= layers || static_cast<int>(*number) < current_) return false;
    while (current_ < static_cast<int>(*number)) {
      if (layer_ != nullptr) LeaveLayer();
      NWC_RETURN_IF_ERROR(EnterLayer(current_ + 1));
    }
    return true;
  }

  Status EnterLayer(int number) {
    const torch::NoGradGuard no_gradients;
    NWC_ASSIGN_OR_RETURN(layer_, model_->LoadLayer(number));
    MoveTo(device_, &layer_->parameters);
    current_ = number;
    steps_ = 0;
    for (Stream* stream : {&tuned_, &held_out_}) {
      for (Tensor& hidden : stream->original) hidden = layer_->Forward(hidden, {});
    }
    parameters_.Clear();
    for (const auto& [name, values] : layer_->parameters) {
      // What is coded is rounded then; vectors are stored as they are.
      if (values.dim() == 1) {
        parameters_.AddVector(name, DTypeOf(name), values);
      } else if (planned_.contains(name)) {
        parameters_.AddVector(name, DType::kF32, values);
      }
    }
    return {};
  }

  [[nodiscard]] DType DTypeOf(const std::string& name) const {
    const auto& tensors = source_.tensors();
    return std::find_if(tensors.begin(), tensors.end(),
                        [&](const SourceTensor& t) { return t.name == name; })
        ->dtype;
  }

  // Keeps the layer's gains and vectors, as they will be stored, and runs the windows through it.
  void LeaveLayer() {
    const torch::NoGradGuard no_gradients;
    Recovered found = parameters_.Changes();
    parameters_.Apply(layer_.get());
    for (auto& [name, factors] : layer_->row_factors) factors = factors.new_ones(factors.sizes());
    for (const auto& [name, gains] : found.gains) {
      Tensor codes = torch::tensor(std::vector<float>(gains.begin(), gains.end()));
      layer_->row_factors[name] = 1 + codes.to(device_) / 1024;
    }
    for (Stream* stream : {&tuned_, &held_out_}) {
      for (Tensor& hidden : stream->packed) hidden = layer_->Forward(hidden, {});
    }
    changes_.gains.merge(found.gains);
    changes_.vectors.merge(found.vectors);
    layer_.reset();
  }

  Tensor Loss(const Stream& stream, size_t batch) {
    parameters_.Apply(layer_.get());
    return (layer_->Forward(stream.packed[batch], {}) - stream.original[batch]).square().mean();
  }

  double HeldOutLoss() {
    const torch::NoGradGuard no_gradients;
    double sum = 0;
    for (size_t b = 0; b < held_out_.batches.size(); ++b) {
      sum +=
          Loss(held_out_, b).item<double>() * static_cast<double>(held_out_.batches[b].ids.numel());
    }
    return sum;
  }

  // A few steps, undone when the held-out windows do not gain.
  Status TuneBlock(const std::string& coded) {
    const double before = HeldOutLoss();
    const std::vector<float> state = parameters_.State();
    for (int i = 0; i < kStepsOfMatrix; ++i, ++steps_) {
      Loss(tuned_, static_cast<size_t>(steps_) % tuned_.batches.size()).backward();
      parameters_.Step({kBlockRate, steps_ + 1});
      if (cancel_ != nullptr && *cancel_) return Status(ErrorCode::kCancelled, "stopped");
    }
    if (!(HeldOutLoss() < before) && !parameters_.Restore(state)) {
      return Status(ErrorCode::kInternal, "the state of a block does not fit it");
    }
    if (progress_) {
      progress_({kStage, coded, static_cast<uint64_t>(current_) + 1,
                 static_cast<uint64_t>(model_->layer_count())});
    }
    return {};
  }

  const TensorSource& source_;
  const RecoveryOptions options_;
  const EvaluationCallback progress_;
  const std::atomic<bool>* cancel_;
  const torch::Device device_;
  RecoveryParameters parameters_;  // of the current layer
  std::unique_ptr<Model> model_;
  std::unique_ptr<Layer> layer_;
  std::set<std::string> planned_;
  Stream tuned_, held_out_;
  Recovered changes_;
  int current_ = -1;
  int64_t steps_ = 0;
};

}  // namespace

Result<std::unique_ptr<BlockTuner>> BlockTuner::Create(const std::string& config,
                                                       const TensorSource& original,
                                                       const TokenWindows& windows,
                                                       const RecoveryOptions& options,
                                                       const EvaluationCallback& progress,
                                                       const std::atomic<bool>* cancel) {
  return CatchTorchErrors([&]() -> Result<std::unique_ptr<BlockTuner>> {
    const ThreadScope threads(options.threads);
    NWC_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(options.device));
    auto tuner = std::make_unique<Tuner>(original, options, progress, cancel, device);
    NWC_RETURN_IF_ERROR(tuner->Start(config, windows));
    return std::unique_ptr<BlockTuner>(std::move(tuner));
  });
}

}  // namespace nwc
