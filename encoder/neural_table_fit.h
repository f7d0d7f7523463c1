// Entropy tables of profile `nwc` from counted latents.
#pragma once

#include <cstdint>
#include <map>

#include "format/neural_codec.h"

namespace nwc {

// How often each value of one latent occurred.
using LatentCounts = std::map<int, uint64_t>;

// The table with the shortest coded length for `counts`: which range gets symbols of its own, and
// what is rarer becomes an escape. At least one value is counted.
NeuralTable BuildNeuralTable(const LatentCounts& counts);

// Bits of `value` under `table`, an escape's 16 bits included.
double NeuralCostBits(const NeuralTable& table, int value);

}  // namespace nwc
