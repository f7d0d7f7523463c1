// Recovery: after a model is packed, its vectors (norm weights, biases) and the row gains of its
// `stream` matrices are tuned so that its answers come near the original's again; the coded indices
// stay. Distillation on the KL divergence with Adam (Kingma & Ba, arXiv 1412.6980, algorithm 1), as
// end-to-end tuning of quantisation parameters in EfficientQAT (arXiv 2407.11062, section 3.3).
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "encoder/evaluation.h"
#include "encoder/tensor_source.h"
#include "encoder/token_windows.h"
#include "encoder/weight_tuner.h"
#include "format/status.h"

namespace nwc {

// A packed model some of whose matrices take row gains (spec/codec.md section 5).
class TunableModel : public TensorSource {
 public:
  [[nodiscard]] virtual bool HasRowGains(size_t tensor) const = 0;
  // As Read, with these gains (one a row, kMinStepCode … kMaxStepCode) in place of its own. Only
  // for tensors with HasRowGains.
  virtual Status ReadScaled(size_t tensor, std::span<const int16_t> gains,
                            MutableByteSpan destination) const = 0;
};

struct Recovered;

struct RecoveryOptions {
  int epochs = 4;               // passes over the windows that are tuned on
  double learning_rate = 2e-3;  // Adam's first step size, relative to a vector's rms or to gain 1
  int threads = 0;              // 0: one a core. Sums depend on it in their last bits.
  Device device = Device::kCpu;
  const Recovered* start = nullptr;  // changes to begin from, or null
  const PackStore* store = nullptr;  // keeps the state after each epoch (key "recovery"), or null
};

// What recovery changes. Names are those of tensors.
struct Recovered {
  std::map<std::string, std::vector<int16_t>> gains;    // rows each, 1024ths
  std::map<std::string, std::vector<uint8_t>> vectors;  // elements in the tensor's dtype
  // On windows that were not tuned on: KL divergence of the packed model, nats a token; of sentence
  // encoders 1 − mean cosine. After is never above before.
  double loss_before = 0, loss_after = 0;
  int epochs = 0;  // of which the best is kept
};

// Block-wise tuning while a model is packed (PackOptions::tuner), as Block-AP of EfficientQAT
// (section 3.2): layer after layer, with what the packed layers before it give as input and the
// original layer's output as target (mean squared error). After each coded matrix the vectors, row
// gains and matrices yet to be coded of its layer take a few Adam steps, undone when held-out
// windows do not gain. What it does depends on its arguments and threads alone.
class BlockTuner : public WeightTuner {
 public:
  // `original` is what is packed; it and `cancel` must outlive the tuner. options: threads, device.
  // Memory: hidden states of both models for all windows, a layer with its Adam moments, embeddings
  // and head. Errors as Recover.
  static Result<std::unique_ptr<BlockTuner>> Create(const std::string& config,
                                                    const TensorSource& original,
                                                    const TokenWindows& windows,
                                                    const RecoveryOptions& options,
                                                    const EvaluationCallback& progress = {},
                                                    const std::atomic<bool>* cancel = nullptr);
  // After the pack: the gains and vectors that the coded matrices were made for. Losses are not
  // filled in. Once.
  virtual Result<Recovered> Finish() = 0;
};

// Every eighth window (at least one) is held out; after each epoch the rounded result is measured
// on those and the best is kept, or nothing when none is better. Stops when two epochs in a row are
// worse than the best. Same arguments and threads give the same result, whether resumed or not.
// Memory: outer tensors of both models, the packed layers as float32 (or one of them at a time,
// read again for every step, when all take more than 4 GB), final hidden states of the original for
// all windows, and hidden states of a few thousand tokens for every layer. kUsage for fewer than
// two windows; others as Evaluator::Create.
Result<Recovered> Recover(const std::string& config, const TensorSource& original,
                          const TunableModel& packed, const TokenWindows& windows,
                          const RecoveryOptions& options, const EvaluationCallback& progress = {},
                          const std::atomic<bool>* cancel = nullptr);

}  // namespace nwc
