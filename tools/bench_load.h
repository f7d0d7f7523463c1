// nwc bench load: how fast a model, or a part of it, comes from a disk or a web server into memory.
#pragma once

#include <string>

#include "loader/loader.h"
#include "tools/selection.h"

namespace nwc {

struct BenchLoadArguments {
  std::string file;     // container, set of containers or URL
  Selection selection;  // empty: everything
  bool cold = false;    // drop the files' pages before each load, and prove that they are gone
  int rounds = 5;       // the median counts
  bool json = false;
  bool quiet = false;
  LoadOptions load;
};

// A load begins before the container is opened and ends when all tensors wanted are in memory at
// once. A hot one finds the files in the page cache; what is not there is read once before.
// kIo when pages stay after they were dropped; kUsage for a cold load of a URL.
Status BenchLoad(const BenchLoadArguments& arguments);

}  // namespace nwc
