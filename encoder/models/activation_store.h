// The inputs of all layers of a model for all batches, kept for the way back.
#pragma once

#include <torch/torch.h>

#include <vector>

#include "format/status.h"

namespace nwc {

class ActivationStore {
 public:
  static constexpr uint64_t kMemoryBytes = 4ull << 30;

  // Room for `count` tensors of `bytes` together: memory up to memory_bytes, beyond that a file in
  // TMPDIR (or /tmp) that has no name, of which only what is in use is in memory. kIo when that
  // file cannot be made.
  ActivationStore() = default;  // empty
  static Result<ActivationStore> Create(size_t count, uint64_t bytes,
                                        uint64_t memory_bytes = kMemoryBytes);

  // Keeps a copy of `tensor` (float32) under `slot`, once.
  void Keep(size_t slot, const torch::Tensor& tensor);
  [[nodiscard]] torch::Tensor Get(size_t slot) const { return kept_[slot]; }
  void Drop(size_t slot);

 private:
  std::vector<torch::Tensor> kept_;
  torch::Tensor mapped_;  // float32, one dimension; undefined: in memory
  int64_t used_ = 0;      // of mapped_, values
};

}  // namespace nwc
