#include "format/simd.h"

#include <cpuid.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace nwc {
namespace {

bool HasF16c() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// Those with wide registers also ask whether the operating system saves them.
Simd Supported() {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("bmi2") && HasF16c();
  if (!avx2) return Simd::kScalar;
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  return avx512 ? Simd::kAvx512 : Simd::kAvx2;
}

Simd Limit() {
  const char* forced = std::getenv("NWC_SIMD");
  for (const Simd simd : {Simd::kScalar, Simd::kAvx2}) {
    if (forced != nullptr && std::strcmp(forced, SimdName(simd)) == 0) return simd;
  }
  return Simd::kAvx512;
}

}  // namespace

Simd BestSimd() {
  static const Simd best = std::min(Supported(), Limit());
  return best;
}

std::vector<Simd> UsableSimds() {
  std::vector<Simd> usable;
  for (const Simd simd : {Simd::kScalar, Simd::kAvx2, Simd::kAvx512}) {
    if (simd <= BestSimd()) usable.push_back(simd);
  }
  return usable;
}

const char* SimdName(Simd simd) {
  switch (simd) {
    case Simd::kScalar:
      return "scalar";
    case Simd::kAvx2:
      return "avx2";
    case Simd::kAvx512:
      return "avx512";
  }
  return "unknown";
}

}  // namespace nwc
