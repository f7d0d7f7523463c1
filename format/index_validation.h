// Rules R9-R19, R32 and R33 of spec/format.md section 4 on an index that is already memory-safe.
#pragma once

#include "format/index.h"

namespace nwc {

Status ValidateIndex(const Index& index, const Superblock& superblock);

}  // namespace nwc
