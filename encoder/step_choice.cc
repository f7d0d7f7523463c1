#include "encoder/step_choice.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "encoder/stream_encoder.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

constexpr int kDeadRowTable = kMinStepCode;  // clamps to t = 0

int RoundedCodes(double octaves) {
  return std::clamp(static_cast<int>(std::lround(kStepCodesPerOctave * octaves)), kMinStepCode,
                    kMaxStepCode);
}

// Bits a weight lost when a Gaussian is coded with the table of another whose scale is `codes`
// eighths of an octave away: their Kullback-Leibler divergence.
double MismatchBits(double codes) {
  const double octaves = codes / kStepCodesPerOctave;
  return (std::exp2(2 * octaves) - 1) / (2 * std::log(2.0)) - octaves;
}

size_t CodedBytes(const std::vector<int16_t>& values) {
  return SerializeSideInfo({values, {}, {}, {}, {}}).size();
}

// Keeps `codes` if they save more bits than they cost over `weights_each` weights a code, else
// replaces all by their mean.
void KeepIfWorthwhile(std::vector<int16_t>* codes, uint64_t weights_each) {
  const double mean =
      std::accumulate(codes->begin(), codes->end(), 0.0) / static_cast<double>(codes->size());
  const auto constant = static_cast<int16_t>(std::lround(mean));
  double saved = 0;
  for (const int16_t c : *codes)
    saved += MismatchBits(c - constant) * static_cast<double>(weights_each);
  const std::vector<int16_t> flat(codes->size(), constant);
  const double cost =
      8.0 * (static_cast<double>(CodedBytes(*codes)) - static_cast<double>(CodedBytes(flat)));
  if (saved < cost) *codes = flat;
}

// log2 of 1/√importance.
std::vector<double> StepOctaves(const std::vector<double>& importance) {
  std::vector<double> octaves;
  octaves.reserve(importance.size());
  for (const double w : importance) octaves.push_back(-0.5 * std::log2(w));
  return octaves;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

// Mean squares of the columns' targets, rows normalised: of the weights themselves and of the
// errors that the feedback adds.
std::vector<double> TargetPower(const TensorScales& scales, const StepImportance& importance,
                                std::span<const float> lower, double constant) {
  const size_t n = scales.column_ratio.size();
  std::vector<double> power;
  for (const double r : scales.column_ratio) power.push_back(r * r);
  if (lower.empty()) return power;
  double inverse = 0, live = 0;
  for (size_t j = 0; j < scales.row_rms.size(); ++j) {
    const double rms = scales.row_rms[j];
    if (rms == 0) continue;
    const double noise = importance.row_noise.empty() ? 0 : importance.row_noise[j];
    inverse += (1 / importance.row[j] + noise) / (rms * rms);
    ++live;
  }
  if (live == 0) return power;
  const double unit = kErrorOfStep * constant * constant * inverse / live;
  const std::vector<double> own = power;
  for (size_t k = 1; k < n; ++k) {
    const double error = std::min(unit / importance.column[k], own[k]);
    for (size_t i = 0; i < k; ++i) {
      const auto l = static_cast<double>(lower[k * n + i]);
      power[i] += l * l * error;
    }
  }
  return power;
}

// Root mean squares of the rows' targets: of the weights and of what the rows above add.
std::vector<double> TargetRms(const TensorScales& scales, const StepImportance& importance,
                              double constant) {
  std::vector<double> target = scales.row_rms;
  if (importance.row_noise.empty()) return target;
  const double unit = kErrorOfStep * constant * constant;
  for (size_t j = 0; j < target.size(); ++j) {
    if (target[j] == 0) continue;
    const double noise = unit * importance.row_noise[j] / (target[j] * target[j]);
    double power = 0, live = 0;
    for (size_t i = 0; i < scales.column_ratio.size(); ++i) {
      const double ratio = scales.column_ratio[i];
      if (ratio == 0) continue;
      power += std::min(noise / (importance.column[i] * ratio * ratio), 1.0);
      ++live;
    }
    if (live > 0) target[j] *= std::sqrt(1 + power / live);
  }
  return target;
}

void ChooseRows(const std::vector<double>& target_rms, const std::vector<double>& octaves,
                double mean, double scale_octaves, uint64_t columns, SideInfo* side) {
  for (size_t j = 0; j < octaves.size(); ++j) {
    const int step = RoundedCodes(octaves[j] - mean);
    side->row_step.push_back(static_cast<int16_t>(step));
    const double rms = target_rms[j];
    const double above =
        rms == 0 ? 0
                 : std::log2(rms) - static_cast<double>(step) / kStepCodesPerOctave - scale_octaves;
    const int table = kTableUnity + RoundedCodes(above);
    side->row_table.push_back(static_cast<int16_t>(std::clamp(table, kMinStepCode, kMaxStepCode)));
  }
  KeepIfWorthwhile(&side->row_table, columns);
  const bool any_live =
      std::any_of(target_rms.begin(), target_rms.end(), [](double rms) { return rms != 0; });
  for (size_t j = 0; any_live && j < octaves.size(); ++j) {
    if (target_rms[j] == 0) side->row_table[j] = kDeadRowTable;
  }
}

void ChooseColumns(const std::vector<double>& power, const std::vector<double>& octaves,
                   double mean, uint64_t rows, SideInfo* side) {
  for (size_t i = 0; i < octaves.size(); ++i) {
    const int step = RoundedCodes(octaves[i] - mean);
    side->column_step.push_back(static_cast<int16_t>(step));
    const double above =
        power[i] == 0 ? -kTableCount
                      : 0.5 * std::log2(power[i]) - static_cast<double>(step) / kStepCodesPerOctave;
    side->column_table.push_back(static_cast<int16_t>(RoundedCodes(above)));
  }
  KeepIfWorthwhile(&side->column_table, rows);
}

}  // namespace

TensorScales MeasureScales(const TensorInfo& tensor, ByteSpan elements) {
  TensorScales scales;
  scales.row_rms.reserve(tensor.rows);
  std::vector<double> column_squares(tensor.columns, 0);
  uint64_t live_rows = 0;
  for (uint64_t row = 0; row < tensor.rows; ++row) {
    const std::vector<float> values = RowAsFloat(tensor, elements, row);
    double squares = 0;
    for (const float v : values) squares += static_cast<double>(v) * v;
    scales.row_rms.push_back(std::sqrt(squares / static_cast<double>(tensor.columns)));
    if (squares == 0) continue;
    ++live_rows;
    const double inverse = static_cast<double>(tensor.columns) / squares;
    for (uint64_t i = 0; i < tensor.columns; ++i) {
      column_squares[i] += static_cast<double>(values[i]) * values[i] * inverse;
    }
  }
  for (const double s : column_squares) {
    scales.column_ratio.push_back(live_rows == 0 ? 0
                                                 : std::sqrt(s / static_cast<double>(live_rows)));
  }
  return scales;
}

StepImportance ImportanceOfScales(const TensorScales& scales) {
  StepImportance importance;
  const auto live = std::find_if(scales.row_rms.begin(), scales.row_rms.end(),
                                 [](double rms) { return rms != 0; });
  const double resting = live == scales.row_rms.end() ? 1 : *live;
  for (const double rms : scales.row_rms) {
    const double used = rms == 0 ? resting : rms;
    importance.row.push_back(1 / (used * used));
  }
  importance.column.assign(scales.column_ratio.size(), 1);
  return importance;
}

StepsAndTables ChooseSteps(const TensorInfo& tensor, const TensorScales& scales,
                           const StepImportance& importance, std::span<const float> lower,
                           double constant) {
  const std::vector<double> rows = StepOctaves(importance.row);
  const std::vector<double> columns = StepOctaves(importance.column);
  const double row_mean = Mean(rows), column_mean = Mean(columns);
  StepsAndTables chosen;
  chosen.scale = static_cast<float>(constant * std::exp2(row_mean + column_mean));
  ChooseRows(TargetRms(scales, importance, constant), rows, row_mean,
             std::log2(static_cast<double>(chosen.scale)), tensor.columns, &chosen.side);
  ChooseColumns(TargetPower(scales, importance, lower, constant), columns, column_mean, tensor.rows,
                &chosen.side);
  return chosen;
}

}  // namespace nwc
