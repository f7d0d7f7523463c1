#include "loader/memory_source.h"

#include <algorithm>

namespace nwc {

Status MemorySource::Read(uint64_t offset, MutableByteSpan destination) const {
  if (offset > bytes_.size() || destination.size() > bytes_.size() - offset) {
    return Status(ErrorCode::kIo, name_ + ": ends at byte " + std::to_string(bytes_.size()) +
                                      ", a read of " + std::to_string(destination.size()) +
                                      " bytes at byte " + std::to_string(offset) + " passes it");
  }
  std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), destination.size(),
              destination.begin());
  return {};
}

}  // namespace nwc
