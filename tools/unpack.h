// nwc unpack: a container back into the folder of a checkpoint, in safetensors or GGUF.
#pragma once

#include <string>

#include "loader/loader.h"

namespace nwc {

struct UnpackArguments {
  std::string file;
  std::string output;  // folder
  bool gguf = false;   // what the weights are written as; else safetensors
  bool force = false;  // replace a folder that is not empty
  bool json = false;
  bool quiet = false;
  LoadOptions load;
};

// The folder appears whole or not at all.
Status Unpack(const UnpackArguments& arguments);

}  // namespace nwc
