// What the two kinds of reader exchange with the pipeline.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "format/bytes.h"
#include "format/status.h"
#include "loader/byte_source.h"

namespace nwc {

inline constexpr size_t kReadsInFlight = 16;
// O_DIRECT wants offset, length and memory in multiples of this.
inline constexpr size_t kDirectBlock = 4096;

// What is read; both outlive the reader.
struct ReadFrom {
  const ByteSource* source = nullptr;
  int direct = -1;  // the same file opened with O_DIRECT, or -1
};

struct ReadRequest {
  ReadFrom from;
  uint64_t offset = 0;          // bytes from the start of the source
  MutableByteSpan destination;  // not empty; stays valid until the completion
  size_t tag = 0;
};

struct ReadCompletion {
  static constexpr size_t kNoRequest = SIZE_MAX;

  size_t tag = kNoRequest;  // of the request; kNoRequest where all of them failed
  Status status = {};       // on failure the destination's bytes are unspecified
  Status checked = {};      // what the reader's ReadCheck says of bytes that were read
};

// Looks at what the request with this tag has read, on the thread that read it where there is one.
// Several threads may call it at once.
using ReadCheck = std::function<Status(size_t tag)>;

}  // namespace nwc
