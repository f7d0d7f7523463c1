// How many bits a weight costs in a container, everything counted. Pure functions.
#pragma once

#include <cstdint>
#include <optional>

#include "format/format.h"

namespace nwc {

struct ContainerBits {
  uint64_t weights = 0, file_bytes = 0;  // of the whole file
  // Of linear tensors: payload, chunk entries of the index, and the codecs, which serve them.
  uint64_t linear_weights = 0, linear_bytes = 0;

  // Nothing when there are no weights.
  [[nodiscard]] std::optional<double> BitsPerWeight() const;
  [[nodiscard]] std::optional<double> LinearBitsPerWeight() const;
};

// Of one shard more.
ContainerBits& operator+=(ContainerBits& sum, const ContainerBits& shard);

ContainerBits CountBits(const Index& index, uint64_t file_bytes);

}  // namespace nwc
