// Trains a codec of profile `nwc`: the autoencoder of "Neural Weight Compression" (arXiv
// 2510.11234) with the factorised prior of Ballé et al. (arXiv 1802.01436), on pretrained weights.
//
// No LibTorch type shows here; the implementation is in encoder/neural.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "encoder/evaluation.h"
#include "encoder/neural_model.h"
#include "encoder/tensor_source.h"
#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

// The loss of a chunk coded at quality q is  lambda · MSE + rate_weights[q] · bits a weight, over
// weights normalised to unit variance (the paper's rate-distortion loss with its quality levels).
struct NeuralTrainingOptions {
  uint16_t chunk = 4, latents = 4, width = 16;
  uint8_t blocks = 4;
  std::vector<double> rate_weights = {3.4, 1.2, 0.1, 0.05};  // one for each quality
  double lambda = 370;                                       // about 4 bits a weight
  uint64_t steps = 6000;
  uint32_t batch = 4096;        // chunks a step, cut equally between the qualities
  double learning_rate = 1e-3;  // the highest, after the warm-up; then half a cosine down to zero
  uint64_t warmup_steps = 200;
  uint64_t seed = 1;
  int threads = 0;                      // 0: one a core; results are equal for equal thread counts
  Device device = Device::kCpu;         // results of one differ from the other's in their last bits
  uint64_t pool_weights = 32ull << 20;  // weights sampled from the checkpoints
  uint64_t log_interval = 50;           // steps
  uint64_t validation_interval = 500;   // steps
  uint64_t checkpoint_interval = 500;   // steps
};

// "published": 512 × 4 on chunks of 16. "thin": 16 × 4 on chunks of 4. kUsage for other names.
Result<NeuralTrainingOptions> NeuralPreset(std::string_view name);

// kUsage, naming the option, for a value out of range.
Status CheckNeuralTrainingOptions(const NeuralTrainingOptions& options);

// Means over the batches since the last line; all qualities alike.
struct NeuralLogLine {
  uint64_t step = 0;  // steps done
  double loss = 0, mse = 0, bits = 0;
};

// On chunks that are not trained on, with rounded latents and the learned prior.
struct NeuralValidation {
  uint64_t step = 0;
  double loss = 0;
};

// What the finished codec does with chunks it was not trained on: binary16 parameters, rounded
// latents, 12-bit tables, escapes counted.
struct NeuralQualityReport {
  double bits = 0;  // a weight
  double mse = 0;   // of normalised weights
  double gap = 0;   // bits above the bound of a Gaussian, ½·log2(their variance / mse)
};

struct NeuralTrainingResult {
  NeuralModel model;
  std::vector<NeuralQualityReport> report;  // one for each quality
  std::vector<NeuralValidation> curve;
  uint64_t training_chunks = 0, validation_chunks = 0;
};

// Called on the thread that trains; empty ones are skipped.
struct NeuralTrainingHooks {
  std::function<void(uint64_t done, uint64_t total)> progress;  // steps
  std::function<void(const NeuralLogLine&)> log;
  std::function<void(const NeuralValidation&)> validation;
  // Keeps `state` so that it replaces the one before atomically; an error ends the training.
  std::function<Status(ByteSpan state)> checkpoint;
  const std::atomic<bool>* cancel = nullptr;
};

// Trains on the linear tensors of `sources` (IsLinearWeight): columns divided by their coded
// standard deviation and cut into chunks from the top. `resume` is a state that `checkpoint` was
// given, or empty; a run that goes on from it ends with the same bytes as one that was never
// interrupted. Equal sources, options and thread count give equal results. kIo when the device
// cannot be used; kUsage when there is nothing to train on, when `resume` belongs to other options
// or data, and when the training diverges (the loss is no longer finite); kCancelled after
// `cancel`, with a last state handed to `checkpoint`.
Result<NeuralTrainingResult> TrainNeural(const std::vector<const TensorSource*>& sources,
                                         const NeuralTrainingOptions& options, ByteSpan resume,
                                         const NeuralTrainingHooks& hooks);

}  // namespace nwc
