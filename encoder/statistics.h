// What calibration knows about the linear layers of a model (docs/statistics.md describes the
// file).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/status.h"

namespace nwc {

// Of a linear layer y = W x with W of outputs × inputs, means over the calibration tokens.
struct LayerStatistics {
  std::vector<float> input_moment;   // inputs × inputs, row-major: H = E[x xᵀ]
  std::vector<float> output_moment;  // outputs: o_j = E[g_j²], g the gradient of the loss on y; may
                                     // be empty
};

// Statistics by the name of the weight tensor. Read may be called from many threads at once.
class StatisticsSource {
 public:
  virtual ~StatisticsSource() = default;
  [[nodiscard]] virtual bool Has(const std::string& weight) const = 0;
  // kUsage when the shapes are not those of `rows` outputs and `columns` inputs, or a value is not
  // finite: then these are the statistics of another model.
  [[nodiscard]] virtual Result<LayerStatistics> Read(const std::string& weight, uint64_t rows,
                                                     uint64_t columns) const = 0;
};

}  // namespace nwc
