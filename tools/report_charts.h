// The smaller drawings of a report page: where bytes and seconds go, and bits against error. Each
// is as wide as a phone. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/stage_times.h"

namespace nwc {

struct SizePart {
  std::string name;
  uint64_t bytes = 0;
  std::string what;  // a sentence about it
};

// A stacked bar and a table; parts without bytes are left out.
std::string FormatSizeBar(const std::vector<SizePart>& parts);

// A lossy tensor.
struct RatePoint {
  std::string name, kind;
  double bits = 0;          // a weight
  double relative_mse = 0;  // squared error over squared norm, above 0
};
double SignalToNoise(double relative_mse);  // dB

// A scatter plot beside the bound for Gaussian weights; at least one point. The page's table of
// tensors has the same numbers.
std::string FormatRateScatter(const std::vector<RatePoint>& points);

// Bars and a table.
std::string FormatStageBars(const std::vector<StageSeconds>& stages);

}  // namespace nwc
