// A loop over threads, for short bursts of work on bytes in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

namespace nwc {

// Fewer bytes than this are not worth the start of a thread.
inline constexpr uint64_t kParallelBytes = 256 << 10;

// `threads`, or DefaultDecodeThreads() for 0.
int ThreadCount(int threads);

// body(0) ... body(count - 1) in any order, on the calling thread and others; returns when all have
// run. `body` does not throw. Where no thread can be started the calling one does the work.
void ParallelFor(size_t count, int threads, const std::function<void(size_t)>& body);

}  // namespace nwc
