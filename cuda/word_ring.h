// The word stream of a chunk as a warp reads it: 64 words at a time into a small ring in shared
// memory, one block of words ahead in registers.
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"
#include "format/rans.h"

namespace nwc {

// What the ring needs of every lane; the lanes of all decoders have this base.
struct RansLane {
  uint32_t x;      // rANS state
  uint32_t ahead;  // two words of the block after those in the ring
  bool active;     // has a position in the line
  bool bad;        // scratch of checks
};

class WordRing {
 public:
  static constexpr uint32_t kBlockWords = 2 * kWarpLanes;
  static constexpr uint32_t kBytes = 2 * 2 * kBlockWords;

  // `words` words begin at byte `begin` of the chunk, whose size is a multiple of 4 and not 0; the
  // whole stream lies inside it. `ring`: kBytes of shared memory, at a multiple of 4.
  NWC_DEVICE_INLINE WordRing(const ChunkJob& job, uint32_t begin, uint32_t words, uint8_t* ring)
      : source_(job.bytes),
        first_(begin / 4),
        last_(job.size_bytes / 4 - 1),
        at_(begin / 2 % 2),
        end_(at_ + words),
        ring_(ring) {}

  template <typename Warp>
  NWC_DEVICE_INLINE void Begin(Warp& warp) {
    warp.Each([&](auto& lane, int id) {
      StoreAligned(Slot(0, id), Load(0, id));
      StoreAligned(Slot(1, id), Load(1, id));
      lane.ahead = Load(2, id);
    });
    warp.Sync();
  }

  // Step 2 of a line (spec/codec.md section 2).
  template <typename Warp>
  NWC_DEVICE_INLINE void Renormalize(Warp& warp) {
    const uint32_t mask =
        warp.Ballot([](const auto& lane) { return lane.active && lane.x < kRansLow; });
    warp.Each([&](auto& lane, int id) {
      const uint32_t at = (at_ + RankInMask(mask, id)) % (2 * kBlockWords);
      const uint32_t longer = lane.x << 16 | LoadAligned<uint16_t>(ring_ + 2 * at);
      lane.x = lane.active && lane.x < kRansLow ? longer : lane.x;
    });
    const uint32_t block = at_ / kBlockWords;
    at_ += CountOnes(mask);
    if (at_ / kBlockWords != block) Advance(warp);
  }

  // More was read than there is: what the last lines decoded is wrong.
  [[nodiscard]] NWC_DEVICE_INLINE bool overrun() const { return at_ > end_; }
  [[nodiscard]] NWC_DEVICE_INLINE bool finished() const { return at_ == end_; }

 private:
  NWC_DEVICE_INLINE uint8_t* Slot(uint32_t block, int id) const {
    return ring_ + 4 * (block % 2 * kWarpLanes + static_cast<uint32_t>(id));
  }

  // Two words; those beyond the chunk are its last ones, which only an overrun sees. There is no
  // branch: the value must not be waited for before it is used.
  NWC_DEVICE_INLINE uint32_t Load(uint32_t block, int id) const {
    const uint32_t at = Least(first_ + block * kWarpLanes + static_cast<uint32_t>(id), last_);
    return LoadAligned<uint32_t>(source_ + size_t{4} * at);
  }

  // A new block was entered: the one after it takes the place of the one before.
  template <typename Warp>
  NWC_DEVICE_INLINE void Advance(Warp& warp) {
    const uint32_t next = at_ / kBlockWords + 1;
    warp.Sync();
    warp.Each([&](auto& lane, int id) {
      StoreAligned(Slot(next, id), lane.ahead);
      lane.ahead = Load(next + 1, id);
    });
    warp.Sync();
  }

  const uint8_t* source_;
  uint32_t first_, last_;  // of the stream and of the chunk, in units of 4 bytes
  uint32_t at_, end_;      // words from first_
  uint8_t* ring_;
};

// R26: what must hold once everything is decoded.
template <typename Warp>
NWC_DEVICE_INLINE bool EndsRight(const Warp& warp, const WordRing& words) {
  return warp.Ballot([](const auto& lane) { return lane.x != kRansLow; }) == 0 && words.finished();
}

// Loads the first states from the chunk; false when one breaks R26.
template <typename Warp>
NWC_DEVICE_INLINE bool LoadStates(Warp& warp, const uint8_t* states) {
  warp.Each([&](auto& lane, int id) { lane.x = LoadAligned<uint32_t>(states + 4 * id); });
  return warp.Ballot([](const auto& lane) { return lane.x < kRansLow; }) == 0;
}

// Whether `count` ids of type Id ascend strictly and lie below `limit`.
template <typename Id, typename Warp>
NWC_DEVICE_INLINE bool IdsAscendBelow(Warp& warp, const uint8_t* ids, uint32_t count,
                                      uint32_t limit) {
  warp.Each([&](auto& lane, int id) {
    lane.bad = false;
    for (uint32_t i = static_cast<uint32_t>(id); i < count; i += kWarpLanes) {
      const Id value = LoadAligned<Id>(ids + sizeof(Id) * i);
      lane.bad |= value >= limit;
      if (i > 0) lane.bad |= LoadAligned<Id>(ids + sizeof(Id) * (i - 1)) >= value;
    }
  });
  return warp.Ballot([](const auto& lane) { return lane.bad; }) == 0;
}

// Takes consecutive parts of a chunk, as ChunkCutter does on the host.
class PartCutter {
 public:
  NWC_DEVICE_INLINE PartCutter(const ChunkJob& job, uint32_t begin)
      : bytes_(job.bytes), size_(job.size_bytes), at_(begin) {}

  // Where the part begins; false when the chunk ends inside it.
  NWC_DEVICE_INLINE bool Take(uint64_t size, uint32_t* begin) {
    if (at_ > size_ || size > size_ - at_) return false;
    *begin = at_;
    at_ += static_cast<uint32_t>(size);
    return true;
  }
  NWC_DEVICE_INLINE bool Pad() {
    for (; at_ % 4 != 0; ++at_) {
      if (at_ >= size_ || bytes_[at_] != 0) return false;
    }
    return true;
  }
  [[nodiscard]] NWC_DEVICE_INLINE bool done() const { return at_ == size_; }

 private:
  const uint8_t* bytes_;
  uint32_t size_, at_;
};

}  // namespace nwc
