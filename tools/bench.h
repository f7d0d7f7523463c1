// nwc bench: how fast a container is hashed, decoded and loaded on this machine.
#pragma once

#include <string>

#include "loader/loader.h"

namespace nwc {

struct BenchArguments {
  std::string file;
  int threads = 0;  // 0: one a core
  int runs = 5;     // the median counts; one run more comes first
  bool json = false;
  bool quiet = false;
  RemoteOptions remote;
};

Status Bench(const BenchArguments& arguments);

}  // namespace nwc
