#include "encoder/neural/codec_export.h"

#include <cmath>

#include "encoder/neural_table_fit.h"

namespace nwc {
namespace {

constexpr int64_t kTableWeights = 1 << 20;   // counted for each quality
constexpr int64_t kReportWeights = 1 << 19;  // likewise
constexpr int64_t kBatchChunks = 4096;

// Counts of every (quality, latent), and the squared error a weight of every quality.
struct Coded {
  std::vector<LatentCounts> counts;
  std::vector<double> mse;
  double variance = 0;   // of the weights, about zero
  uint64_t weights = 0;  // of one quality
};

class Coder {
 public:
  Coder(const NeuralTrainingOptions& options, CodecTrainer* trainer)
      : options_(options),
        trainer_(trainer),
        qualities_(static_cast<int64_t>(options.rate_weights.size())) {}

  // Every chunk of the sample at every quality.
  Coded Run(const torch::Tensor& chunks, int64_t weights) const {
    const torch::NoGradGuard no_grad;
    Coded coded;
    const auto channels = static_cast<size_t>(qualities_ * options_.latents);
    coded.counts.resize(channels);
    double squares = 0;
    auto errors = torch::zeros({qualities_}, torch::kFloat64);  // on the CPU
    const int64_t count = std::min(chunks.size(0), weights / options_.chunk);
    // Evenly over the pool: tensors follow each other in it.
    const auto chosen = (torch::arange(count, torch::kInt64) * chunks.size(0))
                            .div(count, "floor")
                            .to(chunks.device());
    for (int64_t begin = 0; begin < count; begin += kBatchChunks) {
      const int64_t size = std::min(kBatchChunks, count - begin);
      const auto x = chunks.index_select(0, chosen.narrow(0, begin, size))
                         .expand({qualities_, size, options_.chunk});
      const auto latents = torch::round(trainer_->analysis().Forward(x));
      Count(latents, &coded.counts);
      const auto error = trainer_->synthesis().Forward(latents) - x;
      squares += torch::square(x[0].to(torch::kFloat64)).sum().item<double>();
      errors += torch::square(error.to(torch::kFloat64)).sum({1, 2}).cpu();
    }
    coded.weights = static_cast<uint64_t>(count * options_.chunk);
    coded.variance = squares / static_cast<double>(coded.weights);
    for (int64_t q = 0; q < qualities_; ++q) {
      coded.mse.push_back(errors[q].item<double>() / static_cast<double>(coded.weights));
    }
    return coded;
  }

 private:
  void Count(const torch::Tensor& latents, std::vector<LatentCounts>* counts) const {
    const auto whole = latents.clamp(INT16_MIN, INT16_MAX).to(torch::kInt32).cpu().contiguous();
    const int32_t* y = whole.const_data_ptr<int32_t>();
    const auto each = static_cast<size_t>(options_.latents);
    const auto chunks = static_cast<size_t>(latents.size(1));
    for (size_t q = 0; q < static_cast<size_t>(qualities_); ++q) {
      for (size_t n = 0; n < chunks; ++n) {
        for (size_t l = 0; l < each; ++l) ++(*counts)[q * each + l][*y++];
      }
    }
  }

  const NeuralTrainingOptions& options_;
  CodecTrainer* trainer_;
  int64_t qualities_;
};

NeuralQualityReport Report(const std::vector<NeuralTable>& tables, const Coded& coded,
                           size_t quality, size_t latents) {
  double bits = 0;
  for (size_t c = quality * latents; c < (quality + 1) * latents; ++c) {
    for (const auto& [value, count] : coded.counts[c]) {
      bits += static_cast<double>(count) * NeuralCostBits(tables[c], value);
    }
  }
  NeuralQualityReport report;
  report.bits = bits / static_cast<double>(coded.weights);
  report.mse = coded.mse[quality];
  report.gap = report.bits - 0.5 * std::log2(coded.variance / report.mse);
  return report;
}

bool AllFinite(const CodecNet& net) {
  for (const auto& p : net.parameters()) {
    if (!torch::isfinite(p).all().item<bool>()) return false;
  }
  return true;
}

}  // namespace

Result<NeuralTrainingResult> ExportCodec(const NeuralTrainingOptions& options,
                                         CodecTrainer* trainer) {
  trainer->analysis().RoundToHalf();
  trainer->synthesis().RoundToHalf();
  if (!AllFinite(trainer->analysis()) || !AllFinite(trainer->synthesis())) {
    return Status(ErrorCode::kUsage,
                  "a parameter grew beyond binary16: lower the learning rate or lambda");
  }
  NeuralTrainingResult result;
  result.model.analysis = trainer->analysis().Export();
  result.model.synthesis = trainer->synthesis().Export();
  const Coder coder(options, trainer);
  auto& tables = result.model.synthesis.tables;
  for (const LatentCounts& counts : coder.Run(trainer->training(), kTableWeights).counts) {
    tables.push_back(BuildNeuralTable(counts));
  }
  const Coded validated = coder.Run(trainer->validation(), kReportWeights);
  for (size_t q = 0; q < options.rate_weights.size(); ++q) {
    result.report.push_back(Report(tables, validated, q, options.latents));
    result.model.expected_mse.push_back(static_cast<float>(result.report[q].mse));
  }
  result.curve = trainer->curve;
  result.training_chunks = static_cast<uint64_t>(trainer->training().size(0));
  result.validation_chunks = static_cast<uint64_t>(trainer->validation().size(0));
  return result;
}

}  // namespace nwc
