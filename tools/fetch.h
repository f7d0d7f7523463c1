// nwc fetch: some tensors of a container as a .safetensors file, reading only what they need.
#pragma once

#include <string>

#include "loader/loader.h"
#include "tools/selection.h"

namespace nwc {

struct FetchArguments {
  std::string file;
  Selection selection;
  std::string output;  // .safetensors file
  bool force = false;  // replace it
  bool json = false;
  bool quiet = false;
  LoadOptions load;
};

Status Fetch(const FetchArguments& arguments);

}  // namespace nwc
