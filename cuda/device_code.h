// What the kernels' logic needs to be compiled both for the GPU and for the emulator on the host.
//
// The logic is written as steps over all lanes of a warp, with `Warp` as a template parameter:
//
//   warp.Each([&](Lane& lane, int id) { … });        every lane does the step
//   warp.Ballot([](const Lane& lane) { … })          bit id: what lane id says
//   warp.Sum([](const Lane& lane) { … })             of what every lane gives, an unsigned number
//   warp.Sync();                                     steps before it are seen by steps after it
//
// Nothing passes between lanes inside a step. DeviceWarp (device_warp.cuh) runs a step on the
// thread's own lane, EmulatedWarp (emulated_warp.h) on 32 lanes one after the other.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#define NWC_DEVICE __device__
#define NWC_DEVICE_INLINE __device__ __forceinline__
#define NWC_UNROLL _Pragma("unroll")
#define NWC_PRAGMA(text) _Pragma(#text)
#define NWC_UNROLL_BY(count) NWC_PRAGMA(unroll count)
#else
#define NWC_DEVICE
#define NWC_DEVICE_INLINE inline
#define NWC_UNROLL
#define NWC_UNROLL_BY(count)
#endif

namespace nwc {

inline constexpr int kWarpLanes = 32;

// What one wide load or store moves.
struct alignas(16) Vector16 {
  uint32_t part[4];
};

// `address` is a multiple of sizeof(T).
template <typename T>
NWC_DEVICE_INLINE T LoadAligned(const void* address) {
#ifdef __CUDA_ARCH__
  return *static_cast<const T*>(address);
#else
  T value;
  std::memcpy(&value, address, sizeof(T));
  return value;
#endif
}

template <typename T>
NWC_DEVICE_INLINE void StoreAligned(void* address, const T& value) {
#ifdef __CUDA_ARCH__
  *static_cast<T*>(address) = value;
#else
  std::memcpy(address, &value, sizeof(T));
#endif
}

NWC_DEVICE_INLINE uint32_t CountOnes(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return static_cast<uint32_t>(__popc(bits));
#else
  return static_cast<uint32_t>(std::popcount(bits));
#endif
}

// Position of the lowest one. Not of 0.
NWC_DEVICE_INLINE uint32_t LowestBit(uint32_t bits) {
#ifdef __CUDA_ARCH__
  return static_cast<uint32_t>(__ffs(static_cast<int>(bits)) - 1);
#else
  return static_cast<uint32_t>(std::countr_zero(bits));
#endif
}

// How many lanes before `id` are in the mask.
NWC_DEVICE_INLINE uint32_t RankInMask(uint32_t mask, int id) {
  return CountOnes(mask & ((1u << id) - 1));
}

NWC_DEVICE_INLINE uint32_t RotateRight(uint32_t bits, uint32_t count) {
#ifdef __CUDA_ARCH__
  return __funnelshift_r(bits, bits, count);
#else
  return std::rotr(bits, static_cast<int>(count));
#endif
}

template <typename T>
NWC_DEVICE_INLINE T Least(T a, T b) {
  return b < a ? b : a;
}

template <typename T>
NWC_DEVICE_INLINE T Greatest(T a, T b) {
  return a < b ? b : a;
}

}  // namespace nwc
