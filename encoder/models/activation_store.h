// The inputs of all layers of a model for all batches, kept for the way back.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "format/status.h"

namespace nwc {

class ActivationStore {
 public:
  static constexpr uint64_t kMemoryBytes = 4ull << 30;

  // Room for `count` tensors of `bytes` together: in memory up to memory_bytes, beyond that in a
  // file in TMPDIR (or /tmp) that has no name. kIo when that file cannot be made.
  ActivationStore() = default;  // empty
  static Result<ActivationStore> Create(size_t count, uint64_t bytes,
                                        uint64_t memory_bytes = kMemoryBytes);

  // Keeps `tensor` (float32), whose values must not change, under `slot`, once. kIo when the disk
  // is full.
  Status Keep(size_t slot, const torch::Tensor& tensor);
  Result<torch::Tensor> Get(size_t slot);
  void Drop(size_t slot) { kept_[slot] = {}; }

 private:
  struct Kept {
    torch::Tensor tensor;  // undefined: in the file
    std::vector<int64_t> shape;
    std::streamoff offset = 0;
  };
  [[nodiscard]] Status Failed(const char* what) const;

  std::vector<Kept> kept_;
  std::string folder_;                  // of the file
  std::unique_ptr<std::fstream> file_;  // null: all in memory
  std::streamoff used_ = 0;             // bytes of it
};

}  // namespace nwc
