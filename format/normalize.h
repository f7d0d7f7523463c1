// Counts to rANS frequencies.
#pragma once

#include <cstdint>
#include <vector>

namespace nwc {

// Frequencies for `counts`, near the shortest coded length: 1 … 4095 where the count is positive,
// else 0. Entry 0 stands for one symbol, every other for `multiplicity` equally likely ones (2 for
// ±k), so that f[0] + multiplicity · (f[1] + f[2] + …) = 4096. At least two counts are positive,
// and entry 0 is when multiplicity is 2. Deterministic on every machine.
std::vector<uint16_t> NormalizeFrequencies(const std::vector<uint64_t>& counts, int multiplicity);

}  // namespace nwc
