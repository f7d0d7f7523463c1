// Where LibTorch computes.
#pragma once

#include <torch/torch.h>

#include "encoder/evaluation.h"
#include "format/status.h"

namespace nwc {

// LibTorch's name of `device`. The CUDA half of LibTorch is loaded when first asked for; kIo when
// it is not installed, or there is no GPU it can use.
Result<torch::Device> OpenDevice(Device device);

// Sets LibTorch's number of threads while it lives; 0: one a core.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

}  // namespace nwc
