// One training run: nets, prior, Adam, data, and the state that a run can go on from.
//
// Only files of encoder/neural include this header: it brings in LibTorch.
#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "encoder/neural/chunk_pool.h"
#include "encoder/neural/codec_net.h"
#include "encoder/neural/entropy_bottleneck.h"
#include "encoder/neural_training.h"

namespace nwc {

// Where training starts: the step of uniform scalar quantisation that minimises the loss at high
// rate, D = step²/12 and R = h − log2(step), is sqrt(6 c / (λ ln 2)). Latents are weights over it.
std::vector<double> FirstGains(const NeuralTrainingOptions& options);

// A generator whose numbers are a function of seed, stream and step, so that no state of it needs
// to be kept.
at::Generator StepGenerator(uint64_t seed, uint64_t stream, uint64_t step);

struct StepLosses {
  double loss = 0, mse = 0, bits = 0;  // means; bits a weight
};

// Not thread-safe. Functions throw c10::Error as LibTorch does.
class CodecTrainer {
 public:
  CodecTrainer(const NeuralTrainingOptions& options, ChunkPool pool, torch::Device device);

  // One step of Adam. The losses may be non-finite: then the run has diverged.
  StepLosses Step();
  [[nodiscard]] uint64_t steps_done() const { return step_; }

  // The loss on validation chunks, latents rounded, equal parts of all qualities.
  [[nodiscard]] double ValidationLoss() const;

  // Everything a later run needs. Restore is kUsage when `state` is of other options or data, and
  // kCorrupt when it is damaged; then the trainer is unchanged.
  [[nodiscard]] std::vector<uint8_t> Save() const;
  Status Restore(ByteSpan state);

  std::vector<NeuralValidation> curve;  // saved and restored with the rest
  StepLosses sums;                      // since the last log line, likewise

  CodecNet& analysis() { return analysis_; }
  CodecNet& synthesis() { return synthesis_; }
  // n × chunk, on the device of training.
  [[nodiscard]] const torch::Tensor& training() const { return training_; }
  [[nodiscard]] const torch::Tensor& validation() const { return validation_; }

 private:
  CodecTrainer(const NeuralTrainingOptions& options, ChunkPool pool, torch::Device device,
               std::vector<double> gains);
  struct Losses {
    torch::Tensor loss, mse, bits;  // scalars
  };
  [[nodiscard]] Losses Evaluate(const torch::Tensor& x, const torch::Tensor& latents) const;
  void UpdateParameters();
  [[nodiscard]] double LearningRate() const;
  [[nodiscard]] std::vector<torch::Tensor> StateTensors() const;
  [[nodiscard]] std::string Identity() const;

  NeuralTrainingOptions options_;
  int64_t qualities_;
  uint64_t fingerprint_;
  torch::Device device_;
  std::vector<float> training_storage_, validation_storage_;
  torch::Tensor training_, validation_;  // views of the storage where the device is the CPU
  torch::Tensor rate_weights_;           // qualities × 1
  CodecNet analysis_, synthesis_;
  EntropyBottleneck prior_;
  std::vector<torch::Tensor> net_parameters_, prior_parameters_;
  std::vector<torch::Tensor> first_moments_, second_moments_;  // nets, then prior
  uint64_t step_ = 0;
};

}  // namespace nwc
