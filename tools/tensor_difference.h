// How far two versions of a tensor are apart. Pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "format/bytes.h"
#include "format/dtype.h"

namespace nwc {

// Elements of one tensor; dtypes may differ between the two of a pair.
struct Elements {
  DType dtype = DType::kF32;
  ByteSpan bytes;
};

struct TensorDifference {
  // The same bytes; of different dtypes: the same values.
  bool identical = true;
  double signal = 0;       // sum of a^2
  double error = 0;        // sum of (a - b)^2
  double max_abs = 0;      // largest |a - b|
  uint64_t differing = 0;  // elements
  // Pairs of which one is NaN or infinite and the other is not the same bits. They are in no sum.
  uint64_t nonfinite_mismatches = 0;

  // Mean over rows of MSE / variance of the row in a; rows of one value are left out.
  uint64_t rows = 0;  // counted
  double row_error_sum = 0;

  [[nodiscard]] std::optional<double> relative_mse() const;  // nothing: error without signal
  [[nodiscard]] std::optional<double> snr_db() const;        // nothing: infinite, either way
};

// `columns` elements a row for the row figures, 0 for none of these. Both hold as many elements.
TensorDifference Compare(const Elements& a, const Elements& b, uint64_t columns);

}  // namespace nwc
