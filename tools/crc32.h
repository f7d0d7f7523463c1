// The checksum of zip files.
#pragma once

#include <cstdint>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

// kCorrupt when the CRC-32 of `bytes` is another one.
Status CheckCrc32(ByteSpan bytes, uint32_t expected);

}  // namespace nwc
