// Launches of the decode kernels. Asynchronous; errors are those of the CUDA runtime.
#pragma once

#include <cuda_runtime_api.h>

#include "cuda/launch.h"

namespace nwc {

cudaError_t LaunchDecode(const DecodeLaunch& launch, cudaStream_t stream);

}  // namespace nwc
