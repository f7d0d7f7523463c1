// A file that is a string.
#pragma once

#include <cstdlib>
#include <cstring>
#include <string_view>

#include "tools/read_at.h"

namespace nwc {

// Reading outside `content`, which must live as long, ends the program.
inline ReadAt MemoryReader(std::string_view content) {
  return [content](uint64_t offset, MutableByteSpan out) -> Status {
    if (offset > content.size() || out.size() > content.size() - offset) std::abort();
    if (!out.empty()) std::memcpy(out.data(), content.data() + offset, out.size());
    return {};
  };
}

}  // namespace nwc
