// Which instructions the decoders use. All give the same bits.
#pragma once

#include <cstdint>

namespace nwc {

enum class Simd : uint8_t { kScalar, kAvx2 };
Simd BestSimd();  // what this processor can run; NWC_SIMD=scalar in the environment forces scalar
const char* SimdName(Simd simd);

}  // namespace nwc
