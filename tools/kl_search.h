// Finds the rate at which a packed model just keeps a KL budget.
#pragma once

#include <functional>

#include "format/status.h"

namespace nwc {

struct KlTrial {
  double bits = 0;  // asked for
  double kl = 0;    // measured, nats a token
};

// Calls `measure(bits)` (pack at that rate, evaluate) until a trial lies within the budget by at
// most 5 %, or bits are as near as 0.01; gives the cheapest trial that keeps the budget. KL falls
// by about a factor of four a bit. kUsage when 7 bits do not keep it.
Result<KlTrial> FindBitsForKl(double budget, double first_bits,
                              const std::function<Result<double>(double bits)>& measure);

}  // namespace nwc
