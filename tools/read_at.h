// How parsers of files that may be larger than memory get at their bytes.
#pragma once

#include <cstdint>
#include <functional>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

// Fills `out` from byte `offset` of the file; both lie within it.
using ReadAt = std::function<Status(uint64_t offset, MutableByteSpan out)>;

}  // namespace nwc
