#include "format/simd.h"

#include <cpuid.h>

#include <cstdlib>
#include <cstring>

namespace nwc {
namespace {

bool HasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

}  // namespace

Simd BestSimd() {
  static const Simd best = [] {
    const char* forced = std::getenv("NWC_SIMD");
    if (forced != nullptr && std::strcmp(forced, "scalar") == 0) return Simd::kScalar;
    // The first two also ask whether the operating system saves the wide registers.
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi2") && HasF16c();
    return avx2 ? Simd::kAvx2 : Simd::kScalar;
  }();
  return best;
}

const char* SimdName(Simd simd) { return simd == Simd::kAvx2 ? "avx2" : "scalar"; }

}  // namespace nwc
