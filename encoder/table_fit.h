// Entropy tables from counts of indices.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/band_search.h"
#include "format/freq_table.h"

namespace nwc {

// Counts of |k| (both signs together) to the frequencies of a table; trims the alphabet where
// escapes are as cheap.
std::vector<uint16_t> FitTable(const std::vector<uint64_t>& counts);

// The tables of `prior` drawn towards what was counted; tables that were not used stay.
CodecTables RefitTables(const CodecTables& prior, const IndexCounts& counts);

}  // namespace nwc
