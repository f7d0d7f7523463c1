// Where bytes come from. The one abstract class of this folder.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

// How a source likes to be read.
struct ReadTraits {
  std::string kind = "memory";      // for Loader::io_description(); of sources without a descriptor
  size_t parallel_reads = 4;        // at once, where it has no descriptor or io_uring is refused
  uint64_t joined_bytes = 1 << 20;  // neighbours share a read of at most this size,
  uint64_t gap_bytes = 4095;        // when no more than this lies between them
};

// Immutable; Read may be called from many threads.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  [[nodiscard]] virtual uint64_t size() const = 0;
  // Reads exactly destination.size() bytes; a source that ends earlier is kIo.
  virtual Status Read(uint64_t offset, MutableByteSpan destination) const = 0;
  // As Read; a source that may have to wait long gives up with kCancelled once *stop is set.
  virtual Status ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                                   const std::atomic<bool>& /*stop*/) const {
    return Read(offset, destination);
  }
  [[nodiscard]] virtual ReadTraits traits() const { return {}; }
  // File descriptor for asynchronous reads, or -1.
  [[nodiscard]] virtual int descriptor() const { return -1; }
  [[nodiscard]] virtual const std::string& name() const = 0;  // path, for messages
};

}  // namespace nwc
