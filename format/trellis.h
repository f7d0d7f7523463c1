// The trellises (spec/codec.md section 4): which of two quantisers an index belongs to.
#pragma once

#include <array>
#include <cstdint>

namespace nwc {

inline constexpr int kMaxTrellisStates = 8;
inline constexpr int kTrellisCount = 3;

struct Trellis {
  int states;
  std::array<uint8_t, 2 * kMaxTrellisStates> next;   // next[2·state + (k & 1)]
  std::array<uint8_t, kMaxTrellisStates> quantizer;  // 0 or 1

  [[nodiscard]] int Next(int state, int k) const {
    return next[static_cast<size_t>(2 * state + (k & 1))];
  }
  [[nodiscard]] int Quantizer(int state) const { return quantizer[static_cast<size_t>(state)]; }
};

enum class TrellisId : uint8_t { kScalar = 0, kFourStates = 1, kEightStates = 2 };

inline constexpr std::array<Trellis, kTrellisCount> kTrellises = {{
    {1, {0, 0}, {0}},
    {4, {0, 2, 2, 0, 1, 3, 3, 1}, {0, 0, 1, 1}},
    {8, {0, 1, 7, 6, 1, 0, 6, 7, 3, 2, 4, 5, 2, 3, 5, 4}, {0, 0, 0, 0, 1, 1, 1, 1}},
}};

}  // namespace nwc
