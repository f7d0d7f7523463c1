#include "encoder/rate_control.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace nwc {
namespace {

constexpr uint64_t kSampleWeights = 24 << 20;
constexpr size_t kSampleTensors = 96;
constexpr int kMaxIterations = 9;
constexpr double kTolerance = 0.0015;         // of the target
constexpr double kGiveUp = 0.05;              // of the target: tiny tensors move in jumps
constexpr double kChunkBytes = 140 + 24 + 2;  // header, index entry, mean padding
constexpr double kFinestOctaves = -5.875, kCoarsestOctaves = 6;  // of step / rms; tables end there
constexpr double kGaussianBits = 1.05;  // rate at σ/δ = 1 if the high-rate law held there

struct SampledTensor {
  TensorInfo info;
  TensorScales scales;
  std::vector<TileRange> ranges;
  std::vector<std::vector<uint8_t>> tiles;
  uint64_t sampled_weights = 0;
};

std::vector<TileRange> SampleTiles(const TensorInfo& info, uint64_t stride) {
  std::vector<TileRange> ranges;
  const uint64_t count = info.grid_rows() * info.grid_columns();
  for (uint64_t tile = std::min(stride / 2, count - 1); tile < count; tile += stride) {
    ranges.push_back(info.Tile(tile));
  }
  return ranges;
}

// Tensors that cannot be stream are left out; packing will say so.
Result<std::vector<SampledTensor>> TakeSample(const TensorSource& source,
                                              const std::vector<TensorPlan>& plans,
                                              TrellisId trellis) {
  uint64_t total = 0;
  for (const TensorPlan& p : plans) total += p.weights;
  const bool all = total <= kSampleWeights;
  const size_t every = all ? 1 : DivideRoundingUp(plans.size(), kSampleTensors);
  const uint64_t tile_stride = all ? 1 : std::max<uint64_t>(1, total / every / kSampleWeights);
  std::vector<SampledTensor> sample;
  for (size_t i = every / 2; i < plans.size(); i += every) {
    const SourceTensor& tensor = source.tensors()[plans[i].source];
    SampledTensor s;
    s.info = DescribeTensor(tensor, plans[i]);
    s.info.stream.emplace().trellis = static_cast<uint8_t>(trellis);
    std::vector<uint8_t> elements(s.info.decoded_bytes());
    NWC_RETURN_IF_ERROR(source.Read(plans[i].source, elements));
    if (!WhyNotStream(s.info, elements).empty()) continue;
    s.scales = MeasureScales(s.info, elements);
    s.ranges = SampleTiles(s.info, tile_stride);
    for (const TileRange& range : s.ranges) {
      s.tiles.push_back(CopyTile(s.info, range, elements));
      s.sampled_weights += range.weights();
    }
    sample.push_back(std::move(s));
  }
  return sample;
}

class RateModel {
 public:
  RateModel(std::vector<SampledTensor> sample, const CodecTables& tables, uint64_t group_weights,
            WorkerPool* pool)
      : sample_(std::move(sample)),
        tables_(tables),
        costs_(tables),
        group_weights_(group_weights),
        pool_(pool) {
    for (size_t t = 0; t < sample_.size(); ++t) {
      for (size_t i = 0; i < sample_[t].tiles.size(); ++i) jobs_.emplace_back(t, i);
    }
  }

  // File bits a weight at `choice`; refits its reconstruction offsets.
  double Bits(StepChoice* choice) {
    std::vector<SideInfo> sides;
    for (SampledTensor& s : sample_) {
      sides.push_back(ChooseSideInfo(s.info, s.scales, choice->step_ratio));
      s.info.stream->scale = static_cast<float>(choice->step_ratio);
      s.info.stream->offset1 = static_cast<int8_t>(choice->offset1);
      s.info.stream->offset2 = static_cast<int8_t>(choice->offset2);
    }
    std::vector<SearchedTile> searched(jobs_.size());
    pool_->ParallelFor(jobs_.size(), [&](size_t i) {
      const SampledTensor& s = sample_[jobs_[i].first];
      const size_t tile = jobs_[i].second;
      const TileInput input{&s.info, &sides[jobs_[i].first], s.ranges[tile], s.tiles[tile], {}};
      searched[i] = SearchTile(input, costs_, kLambda);
      searched[i].tile = {};
    });
    RefitOffsets(searched, choice);
    return Sum(searched, sides);
  }

 private:
  double Sum(const std::vector<SearchedTile>& searched, const std::vector<SideInfo>& sides) const {
    std::vector<double> tensor_bits(sample_.size(), 0);
    for (size_t i = 0; i < jobs_.size(); ++i) {
      tensor_bits[jobs_[i].first] += searched[i].bits + 8 * kChunkBytes;
    }
    double bits = 0, weights = 0;
    for (size_t t = 0; t < sample_.size(); ++t) {
      const auto all = static_cast<double>(sample_[t].info.weights());
      bits += tensor_bits[t] * all / static_cast<double>(sample_[t].sampled_weights) +
              8.0 * static_cast<double>(SerializeSideInfo(sides[t]).size());
      weights += all;
    }
    const auto codec = static_cast<double>(CodecBytes(PruneCodec(tables_, UsedTables(sides))));
    return bits / weights + 8 * codec / static_cast<double>(group_weights_);
  }

  static void RefitOffsets(const std::vector<SearchedTile>& searched, StepChoice* choice) {
    for (size_t which = 0; which < 2; ++which) {
      double sum = 0;
      uint64_t count = 0;
      for (const SearchedTile& s : searched) {
        sum += s.inside[which];
        count += s.inside_count[which];
      }
      const double mean = count == 0 ? 0 : sum / static_cast<double>(count);
      const int offset = std::clamp(static_cast<int>(std::lround(mean * 64)), -31, 31);
      (which == 0 ? choice->offset1 : choice->offset2) = offset;
    }
  }

  std::vector<SampledTensor> sample_;
  const CodecTables& tables_;
  const IndexCosts costs_;
  const uint64_t group_weights_;
  WorkerPool* pool_;
  std::vector<std::pair<size_t, size_t>> jobs_;
};

}  // namespace

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

TableUse UsedTables(const std::vector<SideInfo>& sides) {
  TableUse use{};
  for (const SideInfo& side : sides) MarkUsedTables(side, &use);
  return use;
}

CodecTables PruneCodec(const CodecTables& tables, const TableUse& use) {
  CodecTables pruned = tables;
  for (size_t i = 0; i < pruned.frequencies.size(); ++i) {
    if (!use[i / kQuantizerCount]) pruned.frequencies[i] = {kProbabilityScale - 2, 1};
  }
  return pruned;
}

Result<RateResult> FindStepRatio(const TensorSource& source, const std::vector<TensorPlan>& plans,
                                 double target_bits, TrellisId trellis, const CodecTables& tables,
                                 WorkerPool* pool, const std::atomic<bool>* cancel) {
  NWC_ASSIGN_OR_RETURN(auto sample, TakeSample(source, plans, trellis));
  RateResult result, best;
  if (sample.empty()) return result;  // every tensor turns out to be exact
  best.predicted_bits = std::numeric_limits<double>::infinity();
  uint64_t weights = 0;
  for (const TensorPlan& p : plans) weights += p.weights;
  RateModel model(std::move(sample), tables, weights, pool);
  double octaves =
      kGaussianBits - target_bits;  // of the step ratio; bits fall by about 1 an octave
  double slope = -1, last_octaves = 0, last_bits = 0;
  for (int i = 0; i < kMaxIterations; ++i) {
    if (cancel != nullptr && *cancel) return Status(ErrorCode::kCancelled, "stopped");
    result.choice.step_ratio = std::exp2(octaves);
    result.predicted_bits = model.Bits(&result.choice);
    const double excess = result.predicted_bits - target_bits;
    if (std::fabs(excess) < std::fabs(best.predicted_bits - target_bits)) best = result;
    if (i >= 2 && std::fabs(excess) < kTolerance * target_bits) return result;
    if (i > 0 && octaves != last_octaves) {
      slope =
          std::clamp((result.predicted_bits - last_bits) / (octaves - last_octaves), -1.2, -0.05);
    }
    last_octaves = octaves;
    last_bits = result.predicted_bits;
    octaves = std::clamp(octaves - excess / slope, kFinestOctaves, kCoarsestOctaves);
    // Weights that need fewer bits even at the finest step (a matrix of zeros) are no failure.
    if (excess < 0 && last_octaves == kFinestOctaves) return result;
  }
  if (std::fabs(best.predicted_bits - target_bits) < kGiveUp * target_bits) return best;
  return Status(ErrorCode::kUsage, "no step gives " + std::to_string(target_bits) +
                                       " bits a weight; the nearest found is " +
                                       std::to_string(best.predicted_bits));
}

}  // namespace nwc
