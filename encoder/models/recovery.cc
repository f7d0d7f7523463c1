#include "encoder/recovery.h"

#include <torch/torch.h>

#include <cmath>
#include <optional>
#include <utility>

#include "encoder/models/device.h"
#include "encoder/models/recovery_trainer.h"
#include "encoder/models/recovery_windows.h"
#include "encoder/models/torch_errors.h"

namespace nwc {
namespace {

constexpr int kPatience = 2;  // epochs that may be worse than the best
constexpr const char* kStateKey = "recovery";

// The packed model with changes.
class ChangedSource : public TensorSource {
 public:
  ChangedSource(const TunableModel& packed, const Recovered& changes)
      : packed_(packed), changes_(changes) {}
  [[nodiscard]] const std::vector<SourceTensor>& tensors() const override {
    return packed_.tensors();
  }
  [[nodiscard]] const std::vector<ShardInfo>& shards() const override { return packed_.shards(); }
  Status Read(size_t tensor, MutableByteSpan destination) const override {
    const std::string& name = packed_.tensors()[tensor].name;
    if (const auto gains = changes_.gains.find(name); gains != changes_.gains.end()) {
      return packed_.ReadScaled(tensor, gains->second, destination);
    }
    if (const auto values = changes_.vectors.find(name); values != changes_.vectors.end()) {
      std::copy(values->second.begin(), values->second.end(), destination.begin());
      return {};
    }
    return packed_.Read(tensor, destination);
  }

 private:
  const TunableModel& packed_;
  const Recovered& changes_;
};

// What goes from epoch to epoch.
struct Progress {
  int32_t epochs = 0, best_epoch = 0;
  double before = 0, best = 0;
  std::vector<float> now, best_state;
};

std::vector<uint8_t> Serialize(const Progress& p) {
  std::vector<uint8_t> bytes;
  const auto append = [&](const void* data, size_t size) {
    const auto* begin = static_cast<const uint8_t*>(data);
    bytes.insert(bytes.end(), begin, begin + size);
  };
  const uint64_t floats = p.now.size();
  append(&p.epochs, sizeof p.epochs);
  append(&p.best_epoch, sizeof p.best_epoch);
  append(&p.before, sizeof p.before);
  append(&p.best, sizeof p.best);
  append(&floats, sizeof floats);
  append(p.now.data(), floats * sizeof(float));
  append(p.best_state.data(), floats * sizeof(float));
  const uint64_t hash = Hash64(bytes);
  append(&hash, sizeof hash);
  return bytes;
}

// Nothing when the bytes are damaged: then recovery begins afresh.
std::optional<Progress> Parse(ByteSpan bytes) {
  constexpr size_t kHead = 2 * sizeof(int32_t) + 2 * sizeof(double) + sizeof(uint64_t);
  constexpr size_t kTail = sizeof(uint64_t);
  if (bytes.size() < kHead + kTail) return std::nullopt;
  const ByteSpan content = bytes.first(bytes.size() - kTail);
  if (Hash64(content) != LoadLittle<uint64_t>(content.data() + content.size())) return std::nullopt;
  Progress p;
  p.epochs = LoadLittle<int32_t>(&content[0]);
  p.best_epoch = LoadLittle<int32_t>(&content[4]);
  p.before = LoadLittle<double>(&content[8]);
  p.best = LoadLittle<double>(&content[16]);
  const auto floats = LoadLittle<uint64_t>(&content[24]);
  if (content.size() - kHead != 2 * floats * sizeof(float)) return std::nullopt;
  p.now.resize(floats);
  p.best_state.resize(floats);
  if (floats == 0) return p;
  std::memcpy(p.now.data(), &content[kHead], floats * sizeof(float));
  std::memcpy(p.best_state.data(), &content[kHead + floats * sizeof(float)],
              floats * sizeof(float));
  return p;
}

class Recovery {
 public:
  Recovery(const TunableModel& packed, const RecoveryOptions& options,
           const EvaluationCallback& progress, const std::atomic<bool>* cancel)
      : packed_(packed), options_(options), progress_(progress), cancel_(cancel) {}

  Result<Recovered> Run(const std::string& config, const TensorSource& original,
                        const TokenWindows& windows) {
    NWC_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(options_.device));
    NWC_ASSIGN_OR_RETURN(const SplitWindows split, SplitForRecovery(windows));
    const auto tell = Teller("recovery, held-out windows");
    NWC_ASSIGN_OR_RETURN(evaluator_,
                         Evaluator::Create(config, original, split.held_out,
                                           {options_.threads, options_.device}, tell, cancel_));
    NWC_ASSIGN_OR_RETURN(trainer_,
                         RecoveryTrainer::Create(config, original, packed_, split.tuned, device,
                                                 Control("recovery, original model")));
    NWC_RETURN_IF_ERROR(Begin());
    while (state_.epochs < options_.epochs && state_.epochs - state_.best_epoch < kPatience) {
      NWC_RETURN_IF_ERROR(NextEpoch());
    }
    return Finish();
  }

 private:
  // Progress under one stage, whatever stages the evaluator has.
  [[nodiscard]] EvaluationCallback Teller(const std::string& stage) const {
    return [this, stage](const EvaluationProgress& p) {
      if (progress_) progress_({stage, p.stage + ", " + p.item, p.done, p.total});
    };
  }

  [[nodiscard]] HiddenStep Control(const std::string& stage) const {
    return [this, stage](const std::string& item, uint64_t done, uint64_t total) -> Status {
      if (progress_) progress_({stage, item, done, total});
      if (cancel_ != nullptr && *cancel_) return Status(ErrorCode::kCancelled, "stopped");
      return {};
    };
  }

  // On the held-out windows.
  Result<double> Measure(const Recovered& changes) {
    const ChangedSource source(packed_, changes);
    const auto tell = Teller("recovery, held-out windows");
    NWC_ASSIGN_OR_RETURN(const Evaluation found, evaluator_->Evaluate(&source, tell, cancel_));
    return found.encoder ? 1 - found.mean_cosine : found.kl;
  }

  // Takes up where an earlier run stopped, or starts.
  Status Begin() {
    if (options_.store != nullptr) {
      NWC_ASSIGN_OR_RETURN(const auto stored, options_.store->load(kStateKey));
      const auto state = stored ? Parse(*stored) : std::nullopt;
      if (state && trainer_->parameters().Restore(state->now)) {
        state_ = *state;
        return {};
      }
    }
    NWC_ASSIGN_OR_RETURN(state_.before, Measure({}));
    state_.best = state_.before;
    state_.now = state_.best_state = trainer_->parameters().State();
    return options_.start == nullptr ? Status() : BeginFrom(*options_.start);
  }

  Status BeginFrom(const Recovered& start) {
    trainer_->parameters().Set(start);
    state_.now = trainer_->parameters().State();
    NWC_ASSIGN_OR_RETURN(const double loss, Measure(trainer_->parameters().Changes()));
    if (loss < state_.best) {
      state_.best = loss;
      state_.best_state = state_.now;
    }
    return {};
  }

  Status NextEpoch() {
    const std::string stage = "recovery, epoch " + std::to_string(state_.epochs + 1);
    NWC_RETURN_IF_ERROR(
        trainer_->Epoch(state_.epochs, options_.epochs, options_.learning_rate, Control(stage)));
    ++state_.epochs;
    state_.now = trainer_->parameters().State();
    NWC_ASSIGN_OR_RETURN(const double loss, Measure(trainer_->parameters().Changes()));
    if (loss < state_.best) {
      state_.best = loss;
      state_.best_epoch = state_.epochs;
      state_.best_state = state_.now;
    }
    if (options_.store == nullptr) return {};
    return options_.store->save(kStateKey, Serialize(state_));
  }

  // The best epoch, without its vectors where their rounding costs more than they gain.
  Result<Recovered> Finish() {
    if (!trainer_->parameters().Restore(state_.best_state)) {
      return Status(ErrorCode::kInternal, "the state of recovery does not fit the model");
    }
    Recovered best = trainer_->parameters().Changes();
    best.loss_after = state_.best;
    if (!best.vectors.empty() && !best.gains.empty()) {
      Recovered gains;
      gains.gains = best.gains;
      NWC_ASSIGN_OR_RETURN(gains.loss_after, Measure(gains));
      if (gains.loss_after <= best.loss_after) best = std::move(gains);
    }
    best.loss_before = state_.before;
    best.epochs = state_.epochs;
    return best;
  }

  const TunableModel& packed_;
  const RecoveryOptions& options_;
  const EvaluationCallback& progress_;
  const std::atomic<bool>* cancel_;
  std::unique_ptr<Evaluator> evaluator_;
  std::unique_ptr<RecoveryTrainer> trainer_;
  Progress state_;
};

}  // namespace

Result<Recovered> Recover(const std::string& config, const TensorSource& original,
                          const TunableModel& packed, const TokenWindows& windows,
                          const RecoveryOptions& options, const EvaluationCallback& progress,
                          const std::atomic<bool>* cancel) {
  return CatchTorchErrors([&]() -> Result<Recovered> {
    const ThreadScope threads(options.threads);
    return Recovery(packed, options, progress, cancel).Run(config, original, windows);
  });
}

}  // namespace nwc
