#include "encoder/neural_model.h"

namespace nwc {
namespace {

Status Bad(const char* what) {
  return Status(ErrorCode::kUsage, std::string("not a neural codec: ") + what);
}

bool SizesFit(const NeuralCodec& net) {
  const size_t width = net.width;
  if (net.in_weight.size() != width * net.latents || net.in_bias.size() != width) return false;
  if (net.out_weight.size() != width * net.chunk || net.out_bias.size() != net.chunk) return false;
  if (net.block.size() != net.blocks) return false;
  for (const NeuralBlock& b : net.block) {
    if (b.weight.size() != width * width || b.bias.size() != width || b.gain.size() != width ||
        b.shift.size() != width || b.embedding.size() != width * net.qualities) {
      return false;
    }
  }
  return true;
}

}  // namespace

Status CheckNeuralModel(const NeuralModel& model) {
  const NeuralCodec &a = model.analysis, &s = model.synthesis;
  if (a.chunk != s.latents || a.latents != s.chunk || a.qualities != s.qualities) {
    return Bad("analysis and synthesis do not fit each other");
  }
  if (!SizesFit(a) || !SizesFit(s)) return Bad("a parameter has a wrong size");
  if (s.tables.size() != size_t{s.qualities} * s.latents) return Bad("tables are missing");
  if (model.expected_mse.size() != s.qualities) return Bad("expected errors are missing");
  for (const float mse : model.expected_mse) {
    if (!(mse > 0 && mse < 1e6F)) return Bad("an expected error is out of range");
  }
  return {};
}

}  // namespace nwc
