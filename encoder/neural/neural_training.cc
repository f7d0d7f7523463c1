#include "encoder/neural_training.h"

#include <torch/torch.h>

#include <cmath>
#include <new>

#include "encoder/models/device.h"
#include "encoder/neural/chunk_pool.h"
#include "encoder/neural/codec_export.h"
#include "encoder/neural/codec_trainer.h"

namespace nwc {
namespace {

Status Diverged(uint64_t step, double loss) {
  return Status(ErrorCode::kUsage, "training diverged: the loss is " + std::to_string(loss) +
                                       " at step " + std::to_string(step) +
                                       "; lower the learning rate or lengthen the warm-up");
}

bool Due(uint64_t step, uint64_t interval, uint64_t total) {
  return step % interval == 0 || step == total;
}

class Run {
 public:
  Run(const NeuralTrainingOptions& options, const NeuralTrainingHooks& hooks, CodecTrainer* trainer)
      : options_(options), hooks_(hooks), trainer_(*trainer), logged_(trainer->steps_done()) {
    logged_ -= logged_ % options.log_interval;
  }

  Status Train() {
    while (trainer_.steps_done() < options_.steps) {
      if (hooks_.cancel != nullptr && hooks_.cancel->load()) {
        NWC_RETURN_IF_ERROR(SaveState());
        return Status(ErrorCode::kCancelled, "training was stopped");
      }
      const StepLosses losses = trainer_.Step();
      const uint64_t done = trainer_.steps_done();
      if (!std::isfinite(losses.loss)) return Diverged(done, losses.loss);
      Log(losses, done);
      if (Due(done, options_.validation_interval, options_.steps)) {
        NWC_RETURN_IF_ERROR(Validate(done));
      }
      if (done % options_.checkpoint_interval == 0) NWC_RETURN_IF_ERROR(SaveState());
      if (hooks_.progress) hooks_.progress(done, options_.steps);
    }
    return {};
  }

 private:
  void Log(const StepLosses& losses, uint64_t done) {
    StepLosses& sums = trainer_.sums;
    sums = {sums.loss + losses.loss, sums.mse + losses.mse, sums.bits + losses.bits};
    if (!Due(done, options_.log_interval, options_.steps)) return;
    const auto n = static_cast<double>(done - logged_);
    if (hooks_.log) hooks_.log({done, sums.loss / n, sums.mse / n, sums.bits / n});
    sums = {};
    logged_ = done;
  }

  Status Validate(uint64_t done) {
    const NeuralValidation validation{done, trainer_.ValidationLoss()};
    if (!std::isfinite(validation.loss)) return Diverged(done, validation.loss);
    trainer_.curve.push_back(validation);
    if (hooks_.validation) hooks_.validation(validation);
    return {};
  }

  Status SaveState() { return hooks_.checkpoint ? hooks_.checkpoint(trainer_.Save()) : Status(); }

  const NeuralTrainingOptions& options_;
  const NeuralTrainingHooks& hooks_;
  CodecTrainer& trainer_;
  uint64_t logged_;  // steps in the last log line
};

Result<NeuralTrainingResult> TrainOn(const std::vector<const TensorSource*>& sources,
                                     const NeuralTrainingOptions& options, ByteSpan resume,
                                     const NeuralTrainingHooks& hooks) {
  NWC_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(options.device));
  NWC_ASSIGN_OR_RETURN(ChunkPool pool, CollectChunks(sources, options.chunk, options.pool_weights));
  CodecTrainer trainer(options, std::move(pool), device);
  if (!resume.empty()) NWC_RETURN_IF_ERROR(trainer.Restore(resume));
  NWC_RETURN_IF_ERROR(Run(options, hooks, &trainer).Train());
  NWC_ASSIGN_OR_RETURN(NeuralTrainingResult result, ExportCodec(options, &trainer));
  NWC_RETURN_IF_ERROR(CheckNeuralModel(result.model));
  return result;
}

}  // namespace

Result<NeuralTrainingResult> TrainNeural(const std::vector<const TensorSource*>& sources,
                                         const NeuralTrainingOptions& options, ByteSpan resume,
                                         const NeuralTrainingHooks& hooks) {
  NWC_RETURN_IF_ERROR(CheckNeuralTrainingOptions(options));
  try {
    if (options.threads > 0) at::set_num_threads(options.threads);
    return TrainOn(sources, options, resume, hooks);
  } catch (const c10::Error& e) {
    return Status(ErrorCode::kInternal, std::string("LibTorch: ") + e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory to train; lower the pool or the batch");
  }
}

}  // namespace nwc
