// Faults of the operating system, for tests: a program that links this has its own pread, pwrite,
// fsync, rename and io_uring_submit_and_wait, which all of its code calls, and which fail when
// told.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nwc {

enum class SystemCall : uint8_t {
  kRead,    // pread, and each completion of io_uring
  kSubmit,  // io_uring_submit_and_wait itself
  kWrite,   // pwrite
  kSync,    // fsync, fdatasync
  kRename,  // rename, renameat2, link
};

struct Fault {
  SystemCall call = SystemCall::kRead;
  int error = 0;            // errno; 0: at most `most_bytes` are moved instead
  size_t most_bytes = 0;    // more than 0
  size_t first = 0;         // number of the first call it hits, counted from 0
  size_t count = SIZE_MAX;  // how many calls it hits
  size_t passes_every = 0;  // one call in so many passes unharmed; 0: none does
};

// The fault is there as long as the object; one at a time. Calls may come from any thread.
class FaultScope {
 public:
  explicit FaultScope(const Fault& fault);
  ~FaultScope();
  FaultScope(const FaultScope&) = delete;
  FaultScope& operator=(const FaultScope&) = delete;
  [[nodiscard]] size_t hits() const;  // calls that it has hit
};

}  // namespace nwc
