// Which windows recovery tunes on, which it checks with, and how many make a step.
#pragma once

#include <vector>

#include "encoder/token_windows.h"
#include "format/status.h"

namespace nwc {

struct SplitWindows {
  TokenWindows tuned, held_out;
};

// The last of every eight windows, or of fewer, is held out. kUsage for less than two.
Result<SplitWindows> SplitForRecovery(const TokenWindows& windows);

// Consecutive windows of about 512 tokens, or one longer window.
std::vector<TokenWindows> GroupForSteps(const TokenWindows& windows);

}  // namespace nwc
