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

bool IsMatrix(const std::vector<float>& output_moment, size_t rows) {
  return output_moment.size() != rows;
}

// o_j, from O or as given.
std::vector<double> MeanSquares(const std::vector<float>& output_moment, size_t rows) {
  const size_t stride = IsMatrix(output_moment, rows) ? rows + 1 : 1;
  std::vector<double> squares;
  for (size_t j = 0; j < rows; ++j)
    squares.push_back(static_cast<double>(output_moment[j * stride]));
  return squares;
}

std::vector<double> RowImportance(std::vector<double> squares) {
  const double mean =
      std::accumulate(squares.begin(), squares.end(), 0.0) / static_cast<double>(squares.size());
  for (double& o : squares) o = std::max(o, kLeastRowImportance * mean);
  return squares;
}

// Towards its diagonal: correlations of few tokens promise more than others hold.
std::vector<float> Shrunk(std::vector<float> moment, size_t rows, double shrinkage) {
  const auto keep = static_cast<float>(1 - shrinkage);
  for (size_t j = 0; j < rows; ++j) {
    for (size_t k = 0; k < rows; ++k) {
      if (k != j) moment[j * rows + k] *= keep;
    }
  }
  return moment;
}

// Rows by the gradient on their outputs: with mode kKronecker by all of its moment, if it is known.
Status MeasureRows(const ImportanceOptions& options, const std::vector<float>& moment, size_t rows,
                   WorkerPool* pool, TensorImportance* result) {
  std::vector<double> squares;
  if (!moment.empty()) squares = MeanSquares(moment, rows);
  if (std::all_of(squares.begin(), squares.end(), [](double v) { return v <= 0; })) {
    return Status(ErrorCode::kUsage,
                  "the statistics have no gradient moments; use --importance ldl, or collect "
                  "them with --calibration");
  }
  if (options.mode == ImportanceMode::kKronecker && options.feedback && IsMatrix(moment, rows)) {
    NWC_ASSIGN_OR_RETURN(UduFactors factors, FactorUdu(Shrunk(moment, rows, options.row_shrinkage),
                                                       rows, options.row_damping, pool));
    result->steps.row = std::move(factors.diagonal);
    result->upper = std::move(factors.upper);
    result->steps.row_noise = RowNoise(*result, rows, 0, rows);
  } else {
    result->steps.row = RowImportance(std::move(squares));
  }
  result->measures_kl = options.feedback;
  return {};
}

}  // namespace

std::vector<double> RowNoise(const TensorImportance& importance, size_t above, size_t begin,
                             size_t end) {
  const size_t rows = importance.steps.row.size();
  std::vector<double> noise(end - begin, 0);
  for (size_t k = 0; k < std::min(above, end); ++k) {
    const double error = 1 / importance.steps.row[k];
    const float* u = &importance.upper[k * rows];  // 0 up to k
    for (size_t j = begin; j < end; ++j) {
      noise[j - begin] += static_cast<double>(u[j]) * static_cast<double>(u[j]) * error;
    }
  }
  return noise;
}

Result<TensorImportance> MeasureImportance(const ImportanceOptions& options,
                                           const TensorInfo& tensor, const TensorScales& scales,
                                           const LayerStatistics* statistics, WorkerPool* pool) {
  TensorImportance result;
  result.steps = ImportanceOfScales(scales);
  if (statistics == nullptr) return result;
  const bool factor = options.feedback || options.mode >= ImportanceMode::kLdl;
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
  if (options.mode >= ImportanceMode::kFisher) {
    NWC_RETURN_IF_ERROR(
        MeasureRows(options, statistics->output_moment, tensor.rows, pool, &result));
  } else {
    const double power = OutputPower(tensor, scales, *statistics);
    result.steps.row.assign(tensor.rows, power > 0 ? 1 / power : 1);
  }
  return result;
}

}  // namespace nwc
