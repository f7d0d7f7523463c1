// Collects, from a text, what the coding of linear layers wants to know: the second moment of their
// inputs and of the loss's gradient on their outputs (encoder/statistics.h).
//
// Language models: the loss is the sum of -ln p(label) with labels drawn from the model itself, so
// that gradients give the Fisher information and ½ Σ_j o_j (ΔW H ΔWᵀ)_jj estimates the KL
// divergence a token. Sentence encoders: the loss is ξ·e, ξ standard normal and e the sentence's
// embedding, so that the same sum estimates half the squared error of the embedding, 1 − cosine.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "encoder/evaluation.h"
#include "encoder/tensor_source.h"
#include "encoder/token_windows.h"
#include "format/status.h"

namespace nwc {

struct CalibrationOptions {
  uint64_t seed = 1;  // of the labels drawn
  int threads = 0;    // 0: one a core. Sums depend on it in their last bits.
  Device device = Device::kCpu;
};

// Statistics of one linear layer; spans are valid during the call.
struct CalibratedLinear {
  std::string weight;    // name of its tensor
  std::string input_of;  // the linear whose input moment is this one's too; empty: its own follows
  uint64_t inputs = 0, outputs = 0;
  std::span<const float> input_moment;     // inputs × inputs, or empty
  std::span<const float> weighted_moment;  // inputs × inputs; empty when no gradient was seen
  std::span<const float> output_moment;    // outputs
};
using CalibrationSink = std::function<Status(const CalibratedLinear&)>;

// Runs layer by layer: forward, keeping each layer's input (in memory up to 4 GB over all, else in
// an unlinked file in TMPDIR), then backward, last layer first, giving each layer's statistics to
// `sink` when it is done. Memory: one layer, its moments, embeddings and head, the hidden states.
// Errors as Evaluator::Create.
Status Calibrate(const std::string& config, const TensorSource& source, const TokenWindows& windows,
                 const CalibrationOptions& options, const CalibrationSink& sink,
                 const EvaluationCallback& progress = {},
                 const std::atomic<bool>* cancel = nullptr);

}  // namespace nwc
