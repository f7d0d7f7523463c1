// A warp and a block on the GPU (see device_code.h).
#pragma once

#include "cuda/device_code.h"

namespace nwc {

template <typename Lane>
class DeviceWarp {
 public:
  NWC_DEVICE_INLINE DeviceWarp() : id_(static_cast<int>(threadIdx.x) % kWarpLanes) {}

  template <typename Step>
  NWC_DEVICE_INLINE void Each(const Step& step) {
    step(lane_, id_);
  }

  template <typename Test>
  NWC_DEVICE_INLINE uint32_t Ballot(const Test& test) const {
    return __ballot_sync(0xFFFFFFFFu, test(lane_));
  }

  template <typename Get>
  NWC_DEVICE_INLINE uint32_t Sum(const Get& get) const {
    return __reduce_add_sync(0xFFFFFFFFu, get(lane_));
  }

  NWC_DEVICE_INLINE void Sync() { __syncwarp(); }

 private:
  Lane lane_{};
  int id_;
};

class DeviceBlock {
 public:
  NWC_DEVICE_INLINE int threads() const { return static_cast<int>(blockDim.x); }

  template <typename Step>
  NWC_DEVICE_INLINE void Each(const Step& step) const {
    step(static_cast<int>(threadIdx.x));
    __syncthreads();
  }
};

// Warps that share a block's work on tensor cores (neural_tensor.h).
template <typename Lane>
class DeviceTensorBlock {
 public:
  template <typename Step>
  NWC_DEVICE_INLINE void Do(const Step& step) {
    step(lane_, static_cast<int>(threadIdx.x) / kWarpLanes,
         static_cast<int>(threadIdx.x) % kWarpLanes);
  }
  NWC_DEVICE_INLINE void Barrier() { __syncthreads(); }
  template <typename Step>
  NWC_DEVICE_INLINE void Each(const Step& step) {
    Do(step);
    __syncthreads();
  }

  template <typename Active, typename B, typename Sums>
  NWC_DEVICE_INLINE void Multiply(const Active& active, const B& b, const Sums& sums) {
    if (!active(static_cast<int>(threadIdx.x) / kWarpLanes)) return;
    const uint32_t* const a = lane_.a.part;
    const uint32_t* const right = b(lane_);
    float* const c = sums(lane_);
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
        "{%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(right[0]), "r"(right[1]));
  }

 private:
  Lane lane_;
};

}  // namespace nwc
