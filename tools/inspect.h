// nwc inspect: what is in a container, from its index alone.
#pragma once

#include <string>

#include "format/status.h"

namespace nwc {

struct InspectArguments {
  std::string file;
  bool summary = false;  // totals without a line a tensor
  bool json = false;
};

Status Inspect(const InspectArguments& arguments);

}  // namespace nwc
