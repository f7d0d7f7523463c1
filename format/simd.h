// Which instructions the decoders use. All give the same bits.
#pragma once

#include <cstdint>
#include <vector>

namespace nwc {

enum class Simd : uint8_t { kScalar, kAvx2, kAvx512 };  // each needs what those before it need

// The most this processor and operating system can run. NWC_SIMD=scalar or avx2 in the environment
// sets a lower limit; a name that is not one of SimdName's is ignored.
Simd BestSimd();
std::vector<Simd> UsableSimds();  // kScalar … BestSimd()
const char* SimdName(Simd simd);

}  // namespace nwc
