#include <algorithm>
#include <cmath>

#include "encoder/neural_training.h"

namespace nwc {
namespace {

Status CheckRange(const char* name, uint64_t value, uint64_t low, uint64_t high) {
  if (value >= low && value <= high) return {};
  return Status(ErrorCode::kUsage, std::string(name) + " is " + std::to_string(value) +
                                       ", expected " + std::to_string(low) + " to " +
                                       std::to_string(high));
}

bool Positive(double value) { return value > 0 && std::isfinite(value); }

}  // namespace

Result<NeuralTrainingOptions> NeuralPreset(std::string_view name) {
  NeuralTrainingOptions options;
  if (name == "thin") return options;
  if (name != "published") {
    return Status(ErrorCode::kUsage,
                  "no preset '" + std::string(name) + "', expected published or thin");
  }
  options.chunk = options.latents = 16;
  options.width = 512;
  options.steps = 3000;
  options.batch = 2048;
  options.learning_rate = 3e-4;
  options.log_interval = 10;
  options.validation_interval = options.checkpoint_interval = 250;
  return options;
}

Status CheckNeuralTrainingOptions(const NeuralTrainingOptions& options) {
  const auto& o = options;
  NWC_RETURN_IF_ERROR(CheckRange("chunk", o.chunk, 1, kMaxNeuralChunk));
  NWC_RETURN_IF_ERROR(CheckRange("latents", o.latents, 1, kMaxNeuralLatents));
  NWC_RETURN_IF_ERROR(CheckRange("width", o.width, std::max(o.chunk, o.latents), kMaxNeuralWidth));
  NWC_RETURN_IF_ERROR(CheckRange("blocks", o.blocks, 0, kMaxNeuralBlocks));
  NWC_RETURN_IF_ERROR(CheckRange("number of rate weights", o.rate_weights.size(), 1,
                                 o.blocks == 0 ? 1 : int{kMaxNeuralQualities}));
  NWC_RETURN_IF_ERROR(CheckRange("steps", o.steps, 1, UINT32_MAX));
  NWC_RETURN_IF_ERROR(CheckRange("batch", o.batch, o.rate_weights.size(), 1 << 20));
  for (const uint64_t interval : {o.log_interval, o.validation_interval, o.checkpoint_interval}) {
    NWC_RETURN_IF_ERROR(CheckRange("interval", interval, 1, UINT32_MAX));
  }
  for (const double c : o.rate_weights) {
    if (!Positive(c)) return Status(ErrorCode::kUsage, "rate weights must be positive");
  }
  if (!Positive(o.lambda) || !Positive(o.learning_rate)) {
    return Status(ErrorCode::kUsage, "lambda and learning rate must be positive");
  }
  return {};
}

}  // namespace nwc
