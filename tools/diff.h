// nwc diff: how far the tensors of two models are apart, packed or not.
#pragma once

#include <string>

#include "loader/loader.h"

namespace nwc {

struct DiffArguments {
  std::string a, b;  // .nwc, .safetensors or folders
  bool json = false;
  bool quiet = false;
  LoadOptions load;
};

// Tensors that only one side has, or that differ in shape or dtype, are kCorrupt after the report;
// values that differ are not.
Status Diff(const DiffArguments& arguments);

}  // namespace nwc
