// nwc verify: every byte of a container against the rules of spec/format.md section 4.
#pragma once

#include <string>

#include "loader/loader.h"

namespace nwc {

struct VerifyArguments {
  std::string file;
  bool deep = false;     // also decode every tensor and check its hash
  std::string manifest;  // path of one to compare with, or empty
  bool json = false;
  bool quiet = false;
  LoadOptions load;
};

// Goes on after a bad tensor and reports all of them; kCorrupt when there was one.
Status Verify(const VerifyArguments& arguments);

}  // namespace nwc
