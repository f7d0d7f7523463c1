#include "encoder/models/device.h"

#include <dlfcn.h>

#include <algorithm>
#include <string>
#include <thread>

namespace nwc {

Result<torch::Device> OpenDevice(Device device) {
  if (device == Device::kCpu) return torch::Device(torch::kCPU);
  // Its static initializers make CUDA known to the CPU half; it stays loaded.
  static void* const library = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    return Status(ErrorCode::kIo, "device cuda: cannot load LibTorch's CUDA library (" +
                                      std::string(reason == nullptr ? "libtorch_cuda.so" : reason) +
                                      "); use --device cpu");
  }
  if (!torch::cuda::is_available()) {
    return Status(ErrorCode::kIo, "device cuda: no CUDA device is available; use --device cpu");
  }
  return torch::Device(torch::kCUDA, 0);
}

ThreadScope::ThreadScope(int threads) : before_(torch::get_num_threads()) {
  const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  torch::set_num_threads(threads > 0 ? threads : cores);
}

ThreadScope::~ThreadScope() { torch::set_num_threads(before_); }

}  // namespace nwc
