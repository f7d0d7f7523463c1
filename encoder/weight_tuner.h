// A hook of packing: weights may change while the model is coded, so that those still to come make
// up for the error of those that are done.
#pragma once

#include <cstddef>
#include <span>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

// Tensors are positions in the source. Calls come from one thread, in file order.
class WeightTuner {
 public:
  virtual ~WeightTuner() = default;
  // Before all: the tensors that will be `stream`, by plan.
  virtual void Plan(std::span<const size_t> tensors) = 0;
  // Replaces the elements of a planned tensor by those to code; or leaves them.
  virtual Status Tune(size_t tensor, MutableByteSpan elements) = 0;
  // What a reader will decode of a planned tensor. Without `row_gains` it was stored exactly, and
  // Tune was not called.
  virtual Status Coded(size_t tensor, ByteSpan decoded, bool row_gains) = 0;
};

}  // namespace nwc
