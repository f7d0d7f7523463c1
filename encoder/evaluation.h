// How much a model's answers change when its weights are packed. Models run layer by layer in
// float32, so that one layer's weights are in memory at a time.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "encoder/tensor_source.h"
#include "encoder/token_windows.h"
#include "format/status.h"

namespace nwc {

// What config.json says, for choosing a text. kUsage names a wrong field, kUnsupported what no
// model here does.
struct ModelFacts {
  bool encoder = false;        // a sentence encoder
  size_t max_length = 0;       // longest window, tokens
  size_t vocabulary_size = 0;  // tokens are below this
};
Result<ModelFacts> DescribeModel(const std::string& config);

enum class Device : uint8_t { kCpu, kCuda };

struct EvaluationOptions {
  int threads = 0;  // 0: one a core. Sums depend on it in their last bits, and on nothing else.
  Device device = Device::kCpu;
};

// Means over the positions whose next token is known: all but the last of each window. Without a
// packed model the original takes its place.
struct Evaluation {
  bool encoder = false;  // a sentence encoder: the cosines count; else the figures above them
  // Language models.
  double perplexity = 0;            // of the packed model: exp of the mean of -ln p(next token)
  double reference_perplexity = 0;  // of the original
  double kl = 0;                    // KL(p_original || p_packed), nats a token
  double top1_agreement = 0;        // share of positions where both rank the same token first
  uint64_t tokens = 0;              // positions counted
  // Sentence encoders: cosine of the two models' embeddings of a sentence.
  double mean_cosine = 0, worst_cosine = 0;
  uint64_t sentences = 0;
};

struct EvaluationProgress {
  std::string stage;             // "original model", "packed model" or "comparing"
  std::string item;              // "layer 3", "window 7"
  uint64_t done = 0, total = 0;  // steps of this stage
};
using EvaluationCallback = std::function<void(const EvaluationProgress&)>;

// Runs the original once and then compares any number of packed versions with it. Not thread-safe.
// Memory: the embeddings and heads of both models, a layer, and windows × length × hidden float32
// for each model.
class Evaluator {
 public:
  // `config` is the text of config.json; `original` must outlive the evaluator. Windows longer than
  // the model takes, and tokens beyond its vocabulary, are kUsage, and name window and position.
  // Activations that are not finite are kCorrupt and name the layer. `cancel`, when not null, is
  // polled; set it to stop with kCancelled.
  static Result<std::unique_ptr<Evaluator>> Create(const std::string& config,
                                                   const TensorSource& original,
                                                   const TokenWindows& windows,
                                                   const EvaluationOptions& options,
                                                   const EvaluationCallback& progress = {},
                                                   const std::atomic<bool>* cancel = nullptr);
  ~Evaluator();

  // Compares with the model of the same configuration over the tensors of `packed`; null: the
  // original alone. May be called again after a failure.
  Result<Evaluation> Evaluate(const TensorSource* packed, const EvaluationCallback& progress = {},
                              const std::atomic<bool>* cancel = nullptr);

 private:
  struct Impl;
  explicit Evaluator(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Both steps for one packed version.
Result<Evaluation> Evaluate(const std::string& config, const TensorSource& original,
                            const TensorSource* packed, const TokenWindows& windows,
                            const EvaluationOptions& options,
                            const EvaluationCallback& progress = {},
                            const std::atomic<bool>* cancel = nullptr);

}  // namespace nwc
