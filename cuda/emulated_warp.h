// A warp on the host: 32 lanes in lock step (see device_code.h).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cuda/device_code.h"

namespace nwc {

template <typename Lane>
class EmulatedWarp {
 public:
  template <typename Step>
  void Each(const Step& step) {
    for (int id = 0; id < kWarpLanes; ++id) step(lanes_[static_cast<size_t>(id)], id);
  }

  template <typename Test>
  uint32_t Ballot(const Test& test) const {
    uint32_t mask = 0;
    for (int id = 0; id < kWarpLanes; ++id) {
      mask |= uint32_t{test(lanes_[static_cast<size_t>(id)])} << id;
    }
    return mask;
  }

  template <typename Get>
  uint32_t Sum(const Get& get) const {
    uint32_t sum = 0;
    for (const Lane& lane : lanes_) sum += get(lane);
    return sum;
  }

  void Sync() {}

 private:
  std::array<Lane, kWarpLanes> lanes_{};
};

// The threads of a block between two barriers.
class EmulatedBlock {
 public:
  explicit EmulatedBlock(int threads) : threads_(threads) {}
  [[nodiscard]] int threads() const { return threads_; }

  // step(thread), then a barrier.
  template <typename Step>
  void Each(const Step& step) const {
    for (int thread = 0; thread < threads_; ++thread) step(thread);
  }

 private:
  int threads_;
};

// The warps of a block with a tensor core each; Lane has the factors `a`.
template <typename Lane, int kWarps>
class EmulatedTensorBlock {
 public:
  // step(lane, warp, id).
  template <typename Step>
  void Do(const Step& step) {
    for (int thread = 0; thread < kWarps * kWarpLanes; ++thread) {
      step(lanes_[static_cast<size_t>(thread)], thread / kWarpLanes, thread % kWarpLanes);
    }
  }
  void Barrier() {}
  template <typename Step>
  void Each(const Step& step) {
    Do(step);
  }

  // sums(lane) += a · b(lane) in the warps that active(warp) names: mma.m16n8k16, with the layouts
  // that neural_tensor.h states.
  template <typename Active, typename B, typename Sums>
  void Multiply(const Active& active, const B& b, const Sums& sums) {
    for (int warp = 0; warp < kWarps; ++warp) {
      if (!active(warp)) continue;
      Lane* const lanes = &lanes_[static_cast<size_t>(warp * kWarpLanes)];
      for (uint32_t row = 0; row < 16; ++row) {
        for (uint32_t column = 0; column < 8; ++column) {
          float* const sum = sums(lanes[row % 8 * 4 + column / 2]);
          float& out = sum[row / 8 * 2 + column % 2];
          for (uint32_t k = 0; k < 16; ++k) {
            const Lane& left = lanes[row % 8 * 4 + k % 8 / 2];
            const Lane& right = lanes[column * 4 + k % 8 / 2];
            out += Half(left.a.part[k / 8 * 2 + row / 8], k % 2) * Half(b(right)[k / 8], k % 2);
          }
        }
      }
    }
  }

 private:
  static float Half(uint32_t pair, uint32_t upper) {
    return std::bit_cast<float>(upper != 0 ? pair & 0xFFFF0000u : pair << 16);
  }

  std::array<Lane, static_cast<size_t>(kWarps* kWarpLanes)> lanes_{};
};

}  // namespace nwc
