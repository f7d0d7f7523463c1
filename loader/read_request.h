// What the two kinds of reader exchange with the pipeline.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

struct ReadRequest {
  uint64_t offset = 0;          // bytes from the start of the source
  MutableByteSpan destination;  // not empty; stays valid until the completion
  size_t tag = 0;
};

struct ReadCompletion {
  static constexpr size_t kNoRequest = SIZE_MAX;

  size_t tag = kNoRequest;  // of the request; kNoRequest where all of them failed
  Status status;            // on failure the destination's bytes are unspecified
};

}  // namespace nwc
