// Where bytes come from. The one abstract class of this folder.
#pragma once

#include <cstdint>
#include <string>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

// Immutable; Read may be called from many threads.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  [[nodiscard]] virtual uint64_t size() const = 0;
  // Reads exactly destination.size() bytes; a source that ends earlier is kIo.
  virtual Status Read(uint64_t offset, MutableByteSpan destination) const = 0;
  // File descriptor for asynchronous reads, or -1.
  [[nodiscard]] virtual int descriptor() const { return -1; }
  [[nodiscard]] virtual const std::string& name() const = 0;  // path, for messages
};

}  // namespace nwc
