// The decode kernels' logic on the host, warp by warp: what the tests compare with the host's
// decoders on machines without a GPU. Slow; nothing is decoded this way in earnest.
#pragma once

#include "cuda/launch.h"

namespace nwc {

// `launch` as for the GPU, with all pointers into the host's memory.
void EmulateLaunch(const DecodeLaunch& launch);

}  // namespace nwc
