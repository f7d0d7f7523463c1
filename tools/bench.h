// nwc bench: how fast a container is hashed, decoded and loaded on this machine, or on its GPU.
#pragma once

#include <string>

#include "loader/loader.h"

namespace nwc {

struct BenchArguments {
  std::string file;
  std::string device;  // "cuda" or "cuda:N": what a GPU does with it; empty: the CPU
  int runs = 5;        // the median counts; one run more comes first
  bool json = false;
  bool quiet = false;
  LoadOptions load;
};

Status Bench(const BenchArguments& arguments);

}  // namespace nwc
