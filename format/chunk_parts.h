// Putting chunks together and taking them apart: what the layouts of `stream` and `nwc` share.
#pragma once

#include <span>
#include <vector>

#include "format/bytes.h"
#include "format/rans.h"
#include "format/status.h"

namespace nwc {

template <typename T>
void AppendAll(std::span<const T> values, std::vector<uint8_t>* out) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(values.data());
  out->insert(out->end(), bytes, bytes + values.size_bytes());
}

// Zero bytes up to a multiple of 4.
inline void PadChunk(std::vector<uint8_t>* out) { out->resize(AlignUp(out->size(), 4), 0); }

// Takes consecutive parts of a chunk.
class ChunkCutter {
 public:
  explicit ChunkCutter(ByteSpan bytes) : bytes_(bytes) {}
  bool Take(uint64_t size, ByteSpan* part) {
    if (size > bytes_.size() - at_) return false;
    *part = bytes_.subspan(at_, size);
    at_ += size;
    return true;
  }
  bool Pad() {
    for (; at_ % 4 != 0; ++at_) {
      if (at_ == bytes_.size() || bytes_[at_] != 0) return false;
    }
    return true;
  }
  [[nodiscard]] bool done() const { return at_ == bytes_.size(); }

 private:
  ByteSpan bytes_;
  size_t at_ = 0;
};

// Whether the ids, of type T, ascend strictly and lie below `limit`.
template <typename T>
bool StrictlyAscendingBelow(ByteSpan ids, uint64_t limit) {
  uint64_t next = 0;
  for (size_t i = 0; i < ids.size(); i += sizeof(T)) {
    const uint64_t id = LoadLittle<T>(&ids[i]);
    if (id < next || id >= limit) return false;
    next = id + 1;
  }
  return true;
}

// R26: first states.
inline Status CheckFirstStates(const LaneStates& states) {
  for (const uint32_t x : states) {
    if (x < kRansLow) return Status::Corrupt(26, "a first rANS state is below 2^16");
  }
  return {};
}

}  // namespace nwc
