// Text as a model sees it: windows of token numbers.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nwc {

// Language models: `windows` stretches of `length` tokens. Sentence encoders: one sentence a
// window, each as long as it is; `length` is then the longest and `begins` says where each begins.
struct TokenWindows {
  size_t windows = 0, length = 0;
  std::vector<int32_t> ids;  // all windows, one after the other
  std::vector<size_t>
      begins;  // positions in ids, windows + 1 of them; empty: all are `length` long

  // Tokens of window `window` < windows; valid while this object is unchanged.
  [[nodiscard]] std::span<const int32_t> Window(size_t window) const {
    assert(window < windows);
    const size_t begin = begins.empty() ? window * length : begins[window];
    const size_t end = begins.empty() ? begin + length : begins[window + 1];
    return {ids.data() + begin, end - begin};
  }
};

}  // namespace nwc
