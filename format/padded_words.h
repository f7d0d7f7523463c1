// The word stream of a chunk for decoders that read ahead of what they use.
#pragma once

#include <algorithm>
#include <array>

#include "format/bytes.h"

namespace nwc {

// A word stream that may be over-read by a line: its last bytes are decoded from a padded copy.
class PaddedWords {
 public:
  static constexpr size_t kLineBytes = 64;  // most words a line reads; vector loads stay inside too

  explicit PaddedWords(ByteSpan bytes) : at_(bytes.data()), end_(bytes.data() + bytes.size()) {}
  PaddedWords(const PaddedWords&) = delete;
  PaddedWords& operator=(const PaddedWords&) = delete;

  [[nodiscard]] const uint8_t** at() { return &at_; }
  // A line may begin at or before this.
  [[nodiscard]] const uint8_t* last_safe() const {
    if (in_tail_) return end_;
    return static_cast<size_t>(end_ - at_) < kLineBytes ? at_ - 1 : end_ - kLineBytes;
  }
  // Moves on to the padded copy; false when it was reached already.
  bool EnterTail() {
    if (in_tail_) return false;
    const auto left = static_cast<size_t>(end_ - at_);
    std::copy(at_, end_, tail_.data());
    at_ = tail_.data();
    end_ = at_ + left;
    in_tail_ = true;
    return true;
  }
  [[nodiscard]] bool overrun() const { return at_ > end_; }
  [[nodiscard]] bool finished() const { return at_ == end_; }

 private:
  const uint8_t* at_;
  const uint8_t* end_;
  bool in_tail_ = false;
  std::array<uint8_t, 3 * kLineBytes> tail_{};
};

}  // namespace nwc
