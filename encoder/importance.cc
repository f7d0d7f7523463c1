#include "encoder/importance.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nwc {
namespace {

// Outputs whose gradient was never seen still get some weight.
constexpr double kLeastRowImportance = 1e-4;  // of the mean

// Mean output power of a row, with inputs taken as uncorrelated.
double OutputPower(const TensorInfo& tensor, const TensorScales& scales,
                   const LayerStatistics& statistics) {
  double rows = 0;
  for (const double rms : scales.row_rms) rows += rms * rms;
  double columns = 0;
  for (size_t i = 0; i < tensor.columns; ++i) {
    const double ratio = scales.column_ratio[i];
    columns += ratio * ratio * static_cast<double>(statistics.input_moment[i * tensor.columns + i]);
  }
  return rows / static_cast<double>(tensor.rows) * columns;
}

std::vector<double> RowImportance(const std::vector<float>& output_moment) {
  const double mean = std::accumulate(output_moment.begin(), output_moment.end(), 0.0) /
                      static_cast<double>(output_moment.size());
  std::vector<double> rows;
  for (const float o : output_moment) {
    rows.push_back(std::max(static_cast<double>(o), kLeastRowImportance * mean));
  }
  return rows;
}

}  // namespace

Result<TensorImportance> MeasureImportance(const ImportanceOptions& options,
                                           const TensorInfo& tensor, const TensorScales& scales,
                                           const LayerStatistics* statistics, WorkerPool* pool) {
  TensorImportance result;
  result.steps = ImportanceOfScales(scales);
  if (statistics == nullptr) return result;
  const bool factor = options.feedback || options.mode == ImportanceMode::kLdl ||
                      options.mode == ImportanceMode::kFisher;
  LdlFactors factors;
  if (factor) {
    NWC_ASSIGN_OR_RETURN(
        factors, FactorLdl(statistics->input_moment, tensor.columns, options.damping, pool));
  }
  if (options.feedback) result.lower = std::move(factors.lower);
  if (options.mode == ImportanceMode::kNone) return result;
  if (options.mode == ImportanceMode::kDiagonal) {
    double trace = 0;
    for (size_t i = 0; i < tensor.columns; ++i) {
      trace += static_cast<double>(statistics->input_moment[i * tensor.columns + i]);
    }
    const double damp = options.damping * trace / static_cast<double>(tensor.columns);
    for (size_t i = 0; i < tensor.columns; ++i) {
      result.steps.column[i] =
          static_cast<double>(statistics->input_moment[i * tensor.columns + i]) + damp;
    }
  } else {
    result.steps.column = std::move(factors.diagonal);
  }
  if (options.mode == ImportanceMode::kFisher) {
    const auto& o = statistics->output_moment;
    if (o.empty() || std::all_of(o.begin(), o.end(), [](float v) { return v <= 0; })) {
      return Status(ErrorCode::kUsage,
                    "the statistics have no gradient moments; use --importance ldl, or collect "
                    "them with --calibration");
    }
    result.steps.row = RowImportance(o);
    result.measures_kl = options.feedback;
  } else {
    const double power = OutputPower(tensor, scales, *statistics);
    result.steps.row.assign(tensor.rows, power > 0 ? 1 / power : 1);
  }
  return result;
}

}  // namespace nwc
