#include "tools/crc32.h"

#include <zlib.h>

#include <array>
#include <cstdio>

namespace nwc {

Status CheckCrc32(ByteSpan bytes, uint32_t expected) {
  const auto found = static_cast<uint32_t>(crc32_z(0, bytes.data(), bytes.size()));
  if (bytes.empty() || found == expected) return {};
  std::array<char, 96> text{};
  std::snprintf(text.data(), text.size(), "the CRC-32 is %08x, expected %08x: the file is damaged",
                found, expected);
  return Status(ErrorCode::kCorrupt, text.data());
}

}  // namespace nwc
