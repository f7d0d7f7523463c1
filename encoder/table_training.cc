#include "encoder/table_training.h"

#include <algorithm>
#include <cmath>

#include "encoder/encoder.h"
#include "encoder/policy.h"
#include "encoder/step_choice.h"
#include "encoder/stream_encoder.h"
#include "encoder/table_fit.h"
#include "encoder/trellis_search.h"
#include "encoder/worker_pool.h"
#include "format/normalize.h"

namespace nwc {
namespace {

constexpr uint64_t kColumnLength = 512;
constexpr size_t kValidationEvery = 8;  // columns
constexpr double kEscapeBits = 48;
constexpr double kGaussianTail = 2e-5;  // probability below which an initial alphabet ends

using Column = std::vector<float>;                                     // of variance about one
using Histogram = std::array<std::vector<uint64_t>, kQuantizerCount>;  // counts of |k|

double GaussianCell(double low, double high) {
  return 0.5 * (std::erf(high / std::sqrt(2.0)) - std::erf(low / std::sqrt(2.0)));
}

uint64_t LinearWeights(const std::vector<const TensorSource*>& sources) {
  uint64_t total = 0;
  for (const TensorSource* source : sources) {
    for (const SourceTensor& t : source->tensors()) {
      if (!IsLinearWeight(t)) continue;
      uint64_t n = 1;
      for (const uint64_t d : t.shape) n *= d;
      total += n;
    }
  }
  return total;
}

// Pieces of columns, normalised by row and column scale: every stride-th over all checkpoints.
class ColumnSampler {
 public:
  explicit ColumnSampler(uint64_t stride) : stride_(stride) {}

  Status AddSource(const TensorSource& source) {
    NWC_ASSIGN_OR_RETURN(const auto plans, PlanTensors(source, {}));
    for (const TensorPlan& plan : plans) {
      if (plan.profile != Profile::kStream) continue;
      const TensorInfo info = DescribeTensor(source.tensors()[plan.source], plan);
      std::vector<uint8_t> elements(info.decoded_bytes());
      NWC_RETURN_IF_ERROR(source.Read(plan.source, elements));
      if (WhyNotStream(info, elements).empty()) AddTensor(info, elements);
    }
    return {};
  }

  [[nodiscard]] std::vector<Column> Take() { return std::move(columns_); }

 private:
  void AddTensor(const TensorInfo& info, ByteSpan elements) {
    const TensorScales scales = MeasureScales(info, elements);
    for (uint64_t i = 0; i < info.columns; ++i) {
      for (uint64_t begin = 0; begin < info.rows; begin += kColumnLength) {
        if (counter_++ % stride_ == 0) AddColumn(info, elements, scales, i, begin);
      }
    }
  }

  void AddColumn(const TensorInfo& info, ByteSpan elements, const TensorScales& scales, uint64_t i,
                 uint64_t begin) {
    Column column;
    for (uint64_t j = begin; j < std::min(info.rows, begin + kColumnLength); ++j) {
      float w = 0;
      ToFloat(info.dtype, &elements[(j * info.columns + i) * DTypeSize(info.dtype)], 1, &w);
      const double sigma = scales.row_rms[j] * scales.column_ratio[i];
      column.push_back(sigma == 0 ? 0 : static_cast<float>(w / sigma));
    }
    columns_.push_back(std::move(column));
  }

  const uint64_t stride_;
  uint64_t counter_ = 0;
  std::vector<Column> columns_;
};

Result<std::vector<Column>> TakeColumns(const std::vector<const TensorSource*>& sources,
                                        uint64_t weights) {
  const uint64_t total = LinearWeights(sources);
  if (total == 0) return Status(ErrorCode::kUsage, "no linear tensors to train on");
  ColumnSampler sampler(std::max<uint64_t>(1, total / weights));
  for (const TensorSource* source : sources) NWC_RETURN_IF_ERROR(sampler.AddSource(*source));
  return sampler.Take();
}

// What a search over columns gives for one table.
struct Outcome {
  Histogram counts;
  double bits = 0, squared_error = 0, squares = 0;
  uint64_t weights = 0, escapes = 0;
};

class TableTrainer {
 public:
  TableTrainer(const std::vector<Column>& columns, const TrainingOptions& options)
      : columns_(columns), options_(options) {}

  // Table t over its share of columns: those held out, or the others.
  Outcome Search(const CodecTables& tables, int t, bool held_out) const {
    const IndexCosts costs(tables);
    TrellisSearchOptions options;
    options.trellis = options_.trellis;
    options.lambda = static_cast<float>(options_.lambda);
    options.escape_bits = kEscapeBits;
    TrellisSearch search(costs, options);
    Outcome outcome;
    for (auto& c : outcome.counts) c.assign(kMaxIndexMagnitude + 1, 0);
    std::vector<float> scaled;
    std::vector<uint8_t> t_of_row;
    std::vector<SearchedIndex> found;
    for (size_t i = 0; i < columns_.size(); ++i) {
      if ((i % kValidationEvery == 0) != held_out) continue;
      // A table serves ratios within a sixteenth of an octave of its own.
      const double jitter = static_cast<double>(i * 7 % 16) / 16 - 0.5 + 1.0 / 32;
      const double ratio = std::exp2((t - kTableUnity + jitter) / 8);
      scaled.clear();
      for (const float w : columns_[i]) scaled.push_back(static_cast<float>(w * ratio));
      t_of_row.assign(scaled.size(), static_cast<uint8_t>(t));
      found.resize(scaled.size());
      outcome.bits += search.Search(scaled, t_of_row, found);
      Count(scaled, found, ratio, &outcome);
    }
    return outcome;
  }

 private:
  static void Count(const std::vector<float>& scaled, const std::vector<SearchedIndex>& found,
                    double ratio, Outcome* o) {
    for (size_t j = 0; j < scaled.size(); ++j) {
      const SearchedIndex& f = found[j];
      const int magnitude = std::abs(f.k);
      ++o->counts[f.quantizer][static_cast<size_t>(magnitude)];
      const double level =
          (2 * magnitude - (magnitude == 0 ? 0 : f.quantizer)) * (f.k < 0 ? -1 : 1);
      const double error = f.escaped ? 0 : (scaled[j] - level) / ratio;
      o->squared_error += error * error;
      o->squares += static_cast<double>(scaled[j]) * scaled[j] / (ratio * ratio);
      o->escapes += f.escaped;
    }
    o->weights += scaled.size();
  }

  const std::vector<Column>& columns_;
  const TrainingOptions& options_;
};

TableQuality Quality(int t, const Outcome& o) {
  const auto n = static_cast<double>(o.weights);
  TableQuality q;
  q.t = t;
  q.bits = o.bits / n;
  q.gap = q.bits - 0.5 * std::log2(o.squares / o.squared_error);
  q.escape_rate = static_cast<double>(o.escapes) / n;
  return q;
}

}  // namespace

CodecTables GaussianTables() {
  CodecTables tables;
  for (int t = 0; t < kTableCount; ++t) {
    const double step = std::exp2((kTableUnity - t) / 8.0);
    for (int q = 0; q < kQuantizerCount; ++q) {
      std::vector<uint64_t> counts;
      for (int k = 0; k <= kMaxIndexMagnitude; ++k) {
        // The middle between neighbouring levels 2k - q; a level's own quantiser has spacing 2.
        const double level = 2.0 * k - (k == 0 ? 0 : q);
        const double inner = k == 0 ? 0 : level - (k == 1 && q == 1 ? 0.5 : 1.0);
        const double outer = level + (k == 0 && q == 1 ? 0.5 : 1.0);
        const double p = 2 * GaussianCell(inner * step, outer * step);
        if (k > 1 && p < kGaussianTail) break;
        counts.push_back(static_cast<uint64_t>(p * 1e9) + 1);
      }
      tables.frequencies[static_cast<size_t>(2 * t + q)] = NormalizeFrequencies(counts, 2);
    }
  }
  return tables;
}

Result<TrainingResult> TrainTables(const std::vector<const TensorSource*>& sources,
                                   const TrainingOptions& options,
                                   const std::function<void(uint64_t, uint64_t)>& progress) {
  NWC_ASSIGN_OR_RETURN(const auto columns, TakeColumns(sources, options.weights));
  const TableTrainer trainer(columns, options);
  WorkerPool pool(options.threads);
  TrainingResult result;
  result.tables = GaussianTables();
  const auto total = static_cast<uint64_t>(kTableCount) * static_cast<uint64_t>(options.rounds + 1);
  for (int round = 0; round < options.rounds; ++round) {
    CodecTables renewed = result.tables;
    pool.ParallelFor(kTableCount, [&](size_t t) {
      const Outcome o = trainer.Search(result.tables, static_cast<int>(t), false);
      for (size_t q = 0; q < kQuantizerCount; ++q) {
        renewed.frequencies[2 * t + q] = FitTable(o.counts[q]);
      }
    });
    result.tables = renewed;
    if (progress)
      progress(static_cast<uint64_t>(kTableCount) * static_cast<uint64_t>(round + 1), total);
  }
  result.validation.resize(kTableCount);
  pool.ParallelFor(kTableCount, [&](size_t t) {
    result.validation[t] =
        Quality(static_cast<int>(t), trainer.Search(result.tables, static_cast<int>(t), true));
  });
  if (progress) progress(total, total);
  return result;
}

}  // namespace nwc
