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
  std::vector<float> input_moment;  // inputs × inputs, row-major: H, as InputMoment says
  // outputs × outputs: O = E[g gᵀ], g the gradient of the loss on y; or outputs: its diagonal
  // alone; or empty.
  std::vector<float> output_moment;
};

// Which mean over tokens H is.
enum class InputMoment : uint8_t {
  kPlain,  // E[x xᵀ]
  kWeighted,  // E[‖g‖² x xᵀ] / E[‖g‖²]: tokens count as much as the loss depends on their outputs;
              // plain where there is no such
};

// Statistics by the name of the weight tensor. Read may be called from many threads at once.
class StatisticsSource {
 public:
  virtual ~StatisticsSource() = default;
  [[nodiscard]] virtual bool Has(const std::string& weight) const = 0;
  // kUsage when the shapes are not those of `rows` outputs and `columns` inputs, or a value is not
  // finite: then these are the statistics of another model.
  [[nodiscard]] virtual Result<LayerStatistics> Read(const std::string& weight, uint64_t rows,
                                                     uint64_t columns,
                                                     InputMoment moment) const = 0;
};

}  // namespace nwc
