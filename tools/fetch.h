// nwc fetch: some tensors of a container as a .safetensors file, reading only what they need; or,
// without a selection, the container itself (tools/download.h).
#pragma once

#include <string>

#include "loader/loader.h"
#include "tools/selection.h"

namespace nwc {

struct FetchArguments {
  std::string file;
  Selection selection;
  std::string output;  // .safetensors file; of a download a .nwc file, or the folder of a set
  bool force = false;  // replace it
  bool json = false;
  bool quiet = false;
  LoadOptions load;
};

Status Fetch(const FetchArguments& arguments);

}  // namespace nwc
