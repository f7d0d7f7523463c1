// nwc inspect: what is in a container, from its index alone.
#pragma once

#include <string>

#include "loader/loader.h"

namespace nwc {

struct InspectArguments {
  std::string file;
  bool summary = false;  // totals without a line a tensor
  bool json = false;
  std::string html;    // a page to write, or empty; then nothing else is printed unless asked for
  bool force = false;  // replace an existing page
  RemoteOptions remote;
};

Status Inspect(const InspectArguments& arguments);

}  // namespace nwc
