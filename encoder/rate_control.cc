#include "encoder/rate_control.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>

#include "encoder/band_search.h"
#include "encoder/stream_encoder.h"
#include "encoder/table_fit.h"

namespace nwc {
namespace {

constexpr uint64_t kSampleWeights = 24 << 20;
constexpr uint64_t kFeedbackBytes = 1536ull << 20;  // of L kept between searches
constexpr uint64_t kSampleRows = 64;                // of a sampled band
constexpr int kMaxIterations = 8;
constexpr double kTolerance = 0.001;  // of the target; the law makes up for the rest
constexpr double kGiveUp = 0.05;      // of the target: tiny tensors move in jumps
// Header, index entry, mean padding; the header's 32 lane states hold 8 bits of payload each.
constexpr double kChunkBytes = 140 + 24 + 2 - 32;
constexpr double kRangeOctaves = 6;     // of σ/δ to either side, where tables end
constexpr double kGaussianBits = 1.05;  // rate at σ/δ = 1 if the high-rate law held there

// Values in eighths of an octave and how often each occurs.
using Histogram = std::map<int, double>;

Histogram OctaveHistogram(const std::vector<double>& scale, const std::vector<double>& importance) {
  Histogram histogram;
  for (size_t i = 0; i < scale.size(); ++i) {
    if (scale[i] == 0) continue;  // costs nothing
    const double octaves = std::log2(scale[i]) + 0.5 * std::log2(importance[i]);
    ++histogram[static_cast<int>(std::lround(8 * octaves))];
  }
  return histogram;
}

struct Analysed {
  TensorInfo info;
  TensorScales scales;
  StepImportance importance;
  Histogram rows, columns;
  double weights = 0;

  // Weights in rows and columns that are not zero.
  [[nodiscard]] double LiveWeights() const {
    double live_rows = 0, live_columns = 0;
    for (const auto& [octave, count] : rows) live_rows += count;
    for (const auto& [octave, count] : columns) live_columns += count;
    return live_rows * live_columns;
  }

  // Bits of all weights by the rate of a Gaussian under a trellis.
  [[nodiscard]] double GaussianRate(double constant) const {
    const double shift = kGaussianBits - std::log2(constant);
    double bits = 0;
    for (const auto& [a, row_count] : rows) {
      for (const auto& [b, column_count] : columns) {
        const double octaves = (a + b) / 8.0 + shift;
        const double rate = octaves > 20 ? octaves : 0.5 * std::log2(1 + std::exp2(2 * octaves));
        bits += row_count * column_count * rate;
      }
    }
    return bits;
  }
};

struct SampledBand {
  size_t tensor;  // in the sample
  uint64_t row_begin, row_end;
  std::vector<uint8_t> elements;
  std::vector<float> within;  // U of the band's rows, or empty
  std::vector<double> above;  // RowNoise of the rows above the band
};

struct SampledTensor {
  size_t analysed;
  std::vector<float> lower;
  double sampled_weights = 0;
};

struct Measured {
  double bits = 0;  // file bits a weight of the group
  StreamChoice refined;
};

}  // namespace

struct RateControl::Impl {
  const TensorSource& source;
  StreamOptions options;
  CodecTables prior;
  WorkerPool* pool;
  std::vector<Analysed> tensors;
  std::vector<SampledTensor> sample;
  std::vector<SampledBand> bands;
  double weights = 0, live_weights = 0;
  size_t sample_stride = 1;
  uint64_t band_stride = 1;
  double error_of_step = kErrorOfStep;  // as last measured

  Status AnalyseTensor(const TensorPlan& plan) {
    const SourceTensor& tensor = source.tensors()[plan.source];
    Analysed a;
    a.info = DescribeTensor(tensor, plan);
    a.info.stream.emplace().trellis = static_cast<uint8_t>(options.trellis);
    std::vector<uint8_t> elements(a.info.decoded_bytes());
    NWC_RETURN_IF_ERROR(source.Read(plan.source, elements));
    if (!WhyNotStream(a.info, elements).empty()) return {};
    a.scales = MeasureScales(a.info, elements);
    NWC_ASSIGN_OR_RETURN(TensorImportance importance,
                         ImportanceOf(options, a.info, a.scales, pool));
    a.importance = importance.steps;
    a.rows = OctaveHistogram(a.scales.row_rms, a.importance.row);
    a.columns = OctaveHistogram(a.scales.column_ratio, a.importance.column);
    a.weights = static_cast<double>(a.info.weights());
    weights += a.weights;
    live_weights += a.LiveWeights();
    tensors.push_back(std::move(a));
    if ((tensors.size() - 1) % sample_stride == sample_stride / 2) {
      Sample(elements, std::move(importance));
    }
    return {};
  }

  void Sample(ByteSpan elements, TensorImportance importance) {
    const TensorInfo& info = tensors.back().info;
    SampledTensor s;
    s.analysed = tensors.size() - 1;
    const uint64_t row_bytes = info.columns * DTypeSize(info.dtype);
    const uint64_t count = DivideRoundingUp(info.rows, kSampleRows);
    for (uint64_t band = std::min(sample.size() % band_stride, count - 1); band < count;
         band += band_stride) {
      const uint64_t begin = band * kSampleRows;
      const uint64_t end = std::min(begin + kSampleRows, info.rows);
      const ByteSpan rows = elements.subspan(begin * row_bytes, (end - begin) * row_bytes);
      SampledBand& sampled = bands.emplace_back(
          SampledBand{sample.size(), begin, end, {rows.begin(), rows.end()}, {}, {}});
      if (!importance.upper.empty()) {
        sampled.within = CutUpper(importance.upper, info.rows, begin, end);
        sampled.above = RowNoise(importance, begin, begin, end);
      }
      s.sampled_weights += static_cast<double>((end - begin) * info.columns);
    }
    s.lower = std::move(importance.lower);
    sample.push_back(std::move(s));
  }

  // Sample so much that neither the weights nor the feedback kept pass their limits.
  void PlanSample(const std::vector<TensorPlan>& plans) {
    uint64_t total = 0, feedback = 0;
    for (const TensorPlan& p : plans) {
      total += p.weights;
      if (options.statistics != nullptr && options.importance.feedback &&
          options.statistics->Has(source.tensors()[p.source].name)) {
        feedback += p.columns * p.columns * sizeof(float);
      }
    }
    sample_stride = std::max<uint64_t>(1, DivideRoundingUp(feedback, kFeedbackBytes));
    band_stride = std::max<uint64_t>(1, DivideRoundingUp(total / sample_stride, kSampleWeights));
  }

  [[nodiscard]] double GaussianBits(double constant) const {
    double bits = 0;
    for (const Analysed& a : tensors) bits += a.GaussianRate(constant);
    return bits / weights;
  }

  // The constant at which the group has `bits` by the Gaussian law.
  [[nodiscard]] double ConstantOf(double bits) const {
    double low = -80, high = 80;  // octaves
    for (int i = 0; i < 60; ++i) {
      const double middle = 0.5 * (low + high);
      (GaussianBits(std::exp2(middle)) > bits ? low : high) = middle;
    }
    return std::exp2(0.5 * (low + high));
  }

  // Codes the sample with `choice`; refits offsets and tables to what came out.
  Measured Measure(const StreamChoice& choice) {
    const IndexCosts costs(choice.tables);
    std::vector<StepsAndTables> steps(sample.size());
    pool->ParallelFor(sample.size(), [&](size_t s) {
      Analysed& a = tensors[sample[s].analysed];
      steps[s] = ChooseSteps(a.info, a.scales, a.importance, sample[s].lower, choice.constant);
      a.info.stream->scale = steps[s].scale;
      a.info.stream->offset1 = static_cast<int8_t>(choice.offset1);
      a.info.stream->offset2 = static_cast<int8_t>(choice.offset2);
    });
    std::vector<CodedBand> coded(bands.size());
    std::vector<std::unique_ptr<IndexCounts>> counts(bands.size());
    pool->ParallelFor(bands.size(), [&](size_t b) {
      const SampledBand& band = bands[b];
      counts[b] = std::make_unique<IndexCounts>();
      const auto rows = RowsOf(band, choice.constant);
      const BandInput input{&tensors[sample[band.tensor].analysed].info,
                            &steps[band.tensor].side,
                            band.row_begin,
                            band.row_end,
                            band.elements,
                            sample[band.tensor].lower,
                            {},
                            rows.get()};
      coded[b] = CodeBand(input, costs, options.lambda, counts[b].get());
      coded[b].indices = {};
    });
    Measured m;
    m.refined = Refine(choice, coded, counts);
    m.bits = FileBits(choice, coded, steps);
    double squares = 0, coded_weights = 0;
    for (const CodedBand& c : coded) {
      squares += c.squared_steps;
      coded_weights += static_cast<double>(c.rows) * c.columns;
    }
    error_of_step = squares / coded_weights;
    return m;
  }

  // Null without feedback along rows.
  [[nodiscard]] std::unique_ptr<RowFeedback> RowsOf(const SampledBand& band,
                                                    double constant) const {
    if (band.within.empty()) return nullptr;
    std::vector<float> noise, column_scale;
    for (const double square : band.above) {
      noise.push_back(static_cast<float>(std::sqrt(error_of_step * square) * constant));
    }
    for (const double column : tensors[sample[band.tensor].analysed].importance.column) {
      column_scale.push_back(static_cast<float>(1 / std::sqrt(column)));
    }
    return std::make_unique<SampledRows>(band.within, std::move(noise), std::move(column_scale));
  }

  StreamChoice Refine(const StreamChoice& choice, const std::vector<CodedBand>& coded,
                      const std::vector<std::unique_ptr<IndexCounts>>& counts) const {
    StreamChoice refined = choice;
    for (size_t which = 0; which < 2; ++which) {
      double sum = 0;
      uint64_t count = 0;
      for (const CodedBand& c : coded) {
        sum += c.inside[which];
        count += c.inside_count[which];
      }
      const double mean = count == 0 ? 0 : sum / static_cast<double>(count);
      const int offset = std::clamp(static_cast<int>(std::lround(mean * 64)), -31, 31);
      (which == 0 ? refined.offset1 : refined.offset2) = offset;
    }
    auto total = std::make_unique<IndexCounts>();
    for (const auto& c : counts) {
      for (size_t t = 0; t < c->size(); ++t) {
        for (size_t k = 0; k < (*c)[t].size(); ++k) (*total)[t][k] += (*c)[t][k];
      }
    }
    refined.tables = RefitTables(prior, *total);
    return refined;
  }

  // What the sample tells of all: its bits over those of the Gaussian law, times the law for all.
  [[nodiscard]] double FileBits(const StreamChoice& choice, const std::vector<CodedBand>& coded,
                                const std::vector<StepsAndTables>& steps) const {
    std::vector<double> tensor_bits(sample.size(), 0);
    for (size_t b = 0; b < bands.size(); ++b) tensor_bits[bands[b].tensor] += coded[b].bits;
    double payload = 0, law = 0, extra = 0, covered = 0;
    TableUse use{};
    for (size_t s = 0; s < sample.size(); ++s) {
      const Analysed& a = tensors[sample[s].analysed];
      payload += tensor_bits[s] * a.weights / sample[s].sampled_weights;
      law += a.GaussianRate(choice.constant);
      const auto chunks = static_cast<double>(a.info.grid_rows() * a.info.grid_columns());
      extra +=
          8 * (static_cast<double>(SerializeSideInfo(steps[s].side).size()) + kChunkBytes * chunks);
      covered += a.weights;
      MarkUsedTables(steps[s].side, &use);
    }
    const auto codec = static_cast<double>(CodecBytes(PruneCodec(choice.tables, use)));
    const double scale = law > 0 ? GaussianBits(choice.constant) * weights / law : 1;
    return (payload * scale + extra * weights / covered + 8 * codec) / weights;
  }
};

RateControl::RateControl(const TensorSource& source, const StreamOptions& options,
                         const CodecTables& prior, WorkerPool* pool)
    : impl_(new Impl{source, options, prior, pool, {}, {}, {}, 0, 0, 1, 1}) {}

RateControl::~RateControl() = default;

Status RateControl::Analyse(const std::vector<TensorPlan>& plans,
                            const std::function<void(uint64_t, uint64_t)>& progress,
                            const std::atomic<bool>* cancel) {
  impl_->PlanSample(plans);
  uint64_t done = 0;
  for (const TensorPlan& plan : plans) {
    if (cancel != nullptr && *cancel) return Status(ErrorCode::kCancelled, "stopped");
    const std::string& name = impl_->source.tensors()[plan.source].name;
    if (Status s = impl_->AnalyseTensor(plan); !s.ok()) {
      return s.WithContext("tensor '" + name + "'");
    }
    if (progress) progress(++done, plans.size());
  }
  return {};
}

Result<StreamChoice> RateControl::Find(double target_bits, const std::atomic<bool>* cancel) {
  StreamChoice choice;
  choice.tables = impl_->prior;
  if (impl_->sample.empty()) return choice;  // every tensor turns out to be exact
  if (impl_->live_weights == 0) return choice;
  const double finest =
      impl_->ConstantOf((kRangeOctaves + kGaussianBits) * impl_->live_weights / impl_->weights);
  const double coarsest = impl_->ConstantOf(0.01);
  double law_bits = target_bits;
  Measured best;
  best.bits = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kMaxIterations; ++i) {
    if (cancel != nullptr && *cancel) return Status(ErrorCode::kCancelled, "stopped");
    choice.constant = std::clamp(impl_->ConstantOf(law_bits), finest, coarsest);
    Measured m = impl_->Measure(choice);
    const double excess = m.bits - target_bits;
    if (i >= 2 && std::fabs(excess) < std::fabs(best.bits - target_bits)) {
      best.bits = m.bits;
      best.refined = choice;
    }
    // Weights that need fewer bits even at the finest step (a matrix of zeros) are no failure.
    if (excess < 0 && choice.constant == finest) return choice;
    law_bits = std::max(law_bits - excess, 0.01);
    if (i >= 2 && std::fabs(excess) < kTolerance * target_bits) {
      choice.constant = std::clamp(impl_->ConstantOf(law_bits), finest, coarsest);
      return choice;
    }
    choice = std::move(m.refined);
  }
  if (std::fabs(best.bits - target_bits) < kGiveUp * target_bits) return best.refined;
  return Status(ErrorCode::kUsage, "no step gives " + std::to_string(target_bits) +
                                       " bits a weight; the nearest found is " +
                                       std::to_string(best.bits));
}

Result<TensorImportance> ImportanceOf(const StreamOptions& options, const TensorInfo& tensor,
                                      const TensorScales& scales, WorkerPool* pool) {
  const bool known = options.statistics != nullptr && options.statistics->Has(tensor.name);
  if (!known) return MeasureImportance(options.importance, tensor, scales, nullptr, pool);
  NWC_ASSIGN_OR_RETURN(const LayerStatistics statistics,
                       options.statistics->Read(tensor.name, tensor.rows, tensor.columns,
                                                options.importance.mode >= ImportanceMode::kFisher
                                                    ? InputMoment::kWeighted
                                                    : InputMoment::kPlain));
  return MeasureImportance(options.importance, tensor, scales, &statistics, pool);
}

uint64_t CodecBytes(const CodecTables& tables) {
  uint64_t bytes = tables.frequencies.size();
  for (const auto& f : tables.frequencies) bytes += f.size() * sizeof(uint16_t);
  return bytes;
}

void MarkUsedTables(const SideInfo& side, TableUse* use) {
  // Distinct codes are few: sums of a histogram each.
  const auto distinct = [](std::vector<int16_t> codes) {
    std::sort(codes.begin(), codes.end());
    codes.erase(std::unique(codes.begin(), codes.end()), codes.end());
    return codes;
  };
  const auto columns = distinct(side.column_table);
  for (const int16_t a : distinct(side.row_table)) {
    for (const int16_t b : columns) {
      (*use)[static_cast<size_t>(std::clamp(a + b, 0, kTableCount - 1))] = true;
    }
  }
}

CodecTables PruneCodec(const CodecTables& tables, const TableUse& use) {
  CodecTables pruned = tables;
  for (size_t i = 0; i < pruned.frequencies.size(); ++i) {
    if (!use[i / kQuantizerCount]) pruned.frequencies[i] = {kProbabilityScale - 2, 1};
  }
  return pruned;
}

}  // namespace nwc
