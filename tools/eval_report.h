// What nwc-eval tells. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "encoder/evaluation.h"
#include "tools/container_bits.h"

namespace nwc {

struct EvalOutcome {
  std::string model, packed;  // paths; `packed` may be empty
  Evaluation evaluation;
  std::optional<ContainerBits> bits;  // of a container
  double seconds = 0;
};

// One JSON object, or an array of them when there are several, ending in a newline. Figures that do
// not apply are null.
std::string FormatEvalJson(const std::vector<EvalOutcome>& outcomes);

// A line for each figure that applies.
std::string FormatEvalTable(const EvalOutcome& outcome);

}  // namespace nwc
