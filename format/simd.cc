#include <cstdlib>
#include <cstring>

#include "format/stream_codec.h"

namespace nwc {

Simd BestSimd() {
  static const Simd best = [] {
    const char* forced = std::getenv("NWC_SIMD");
    if (forced != nullptr && std::strcmp(forced, "scalar") == 0) return Simd::kScalar;
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
    return avx2 ? Simd::kAvx2 : Simd::kScalar;
  }();
  return best;
}

const char* SimdName(Simd simd) { return simd == Simd::kAvx2 ? "avx2" : "scalar"; }

}  // namespace nwc
