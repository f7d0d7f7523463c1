// Which tensors a command line asks for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loader/model_loader.h"

namespace nwc {

// The union of all.
struct Selection {
  std::vector<std::string> regexes;  // ECMAScript; tensors whose name contains a match
  std::vector<std::string> layers;   // "3" or "0-11", both ends included; see LayerNumber()
};

// kUsage when the text is no regular expression or no range.
Status CheckSelection(const Selection& selection);

// Numbers of the tensors, ascending. A regex or range that matches nothing is kNotFound; the
// message says which layers there are, or similar names.
Result<std::vector<size_t>> SelectTensors(const ModelLoader& model, const Selection& selection);

}  // namespace nwc
