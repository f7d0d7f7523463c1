// Bytes of a source as they are, with several reads at once.
#pragma once

#include <atomic>
#include <cstdint>

#include "loader/aligned_buffer.h"
#include "loader/io_choice.h"

namespace nwc {

// Fills the first `size_bytes` of *buffer, which grows to that, from `offset` on. Errors are those
// of the reads; kCancelled soon after *cancel is set, which may be null. May throw std::bad_alloc
// and std::system_error; nothing is being read when it returns or throws.
Status ReadRange(const IoChoice& io, const ReadFrom& from, uint64_t offset, uint64_t size_bytes,
                 AlignedBuffer* buffer, const std::atomic<bool>* cancel);

}  // namespace nwc
