// OpenCudaDevice of a build without CUDA.
#include "cuda/device_runtime.h"

namespace nwc {

Result<std::unique_ptr<DeviceRuntime>> OpenCudaDevice(int /*number*/) {
  return Status(ErrorCode::kUnsupported,
                "no CUDA device to use: this build has no CUDA; build with NWC_CUDA=ON where nvcc "
                "is installed");
}

}  // namespace nwc
