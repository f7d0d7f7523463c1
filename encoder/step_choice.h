// Steps and table codes of a `stream` tensor: which side information it gets.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "format/index.h"
#include "format/side_info.h"

namespace nwc {

inline constexpr double kErrorOfStep = 0.3;  // squared error of a coded weight in squared steps

// Root mean squares that tables follow.
struct TensorScales {
  std::vector<double> row_rms;       // rows
  std::vector<double> column_ratio;  // columns: rms of the row-normalised column
};

TensorScales MeasureScales(const TensorInfo& tensor, ByteSpan elements);

// Step of weight (j, i) = constant / √(row_j · column_i), all > 0.
struct StepImportance {
  std::vector<double> row;     // rows
  std::vector<double> column;  // columns
  // Rows, or empty: mean square of what the rows above add to a row's targets, in units of the
  // squared errors 1/row_k that they leave; tables must follow it.
  std::vector<double> row_noise;
};

// Of the uncalibrated choice: steps follow the rms of rows, columns alike.
StepImportance ImportanceOfScales(const TensorScales& scales);

struct StepsAndTables {
  float scale = 1;  // StreamInfo::scale
  SideInfo side;
};

// `constant` is what the whole model shares. `lower` (columns × columns, or empty) is the feedback
// whose noise widens the targets, so that tables must follow.
StepsAndTables ChooseSteps(const TensorInfo& tensor, const TensorScales& scales,
                           const StepImportance& importance, std::span<const float> lower,
                           double constant);

}  // namespace nwc
