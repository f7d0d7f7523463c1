// Passes of recovery over the windows it tunes on: forward and backward layer by layer, so that of
// one step only the layers' inputs are kept (activation checkpointing).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "encoder/models/hidden_states.h"
#include "encoder/models/recovery_parameters.h"

namespace nwc {

class RecoveryTrainer {
 public:
  // Runs the original once over `windows`. `original` and `packed` must outlive the trainer.
  // `control` is called as HiddenStep.
  static Result<std::unique_ptr<RecoveryTrainer>> Create(
      const std::string& config, const TensorSource& original, const TunableModel& packed,
      const TokenWindows& windows, const torch::Device& device, const HiddenStep& control);

  // One pass in the order of the windows; `epoch` of `epochs`, from 0, decides the step sizes,
  // which fall from `rate` as half a cosine.
  Status Epoch(int epoch, int epochs, double rate, const HiddenStep& control);

  [[nodiscard]] RecoveryParameters& parameters() { return parameters_; }

 private:
  explicit RecoveryTrainer(const torch::Device& device) : device_(device), parameters_(device) {}
  Status Start(const std::string& config, const TensorSource& original, const TunableModel& packed,
               const TokenWindows& windows, const HiddenStep& control);
  Status DeclareParameters(const TunableModel& packed);
  // A layer with the present values, which take part in gradients.
  Result<std::shared_ptr<Layer>> LayerNow(int layer);
  Status Gradients(size_t batch);
  torch::Tensor HeadGradient(size_t batch, const torch::Tensor& hidden);
  torch::Tensor Loss(const torch::Tensor& original, const torch::Tensor& packed) const;

  const torch::Device device_;
  RecoveryParameters parameters_;
  std::unique_ptr<Model> original_, packed_;
  std::vector<WindowBatch> batches_;
  std::vector<torch::Tensor> targets_;          // final hidden states of the original
  std::vector<std::shared_ptr<Layer>> layers_;  // all of the packed model, or none
};

}  // namespace nwc
