// rANS in 32 lanes with alias tables (spec/codec.md sections 1-3), scalar.
//
// The state x of a lane lies in [2^16, 2^32) between symbols. A look-up splits it into X = x >> 12
// and slot = x & 4095; the slot names a symbol s and its rank r, and x' = f·X + r. Ranks of a
// symbol run from -thr to f - thr - 1 (thr: slots of its own bucket), so X = (x' + thr) div f
// inverts it. The encoder emits a word when X would reach 2^20, that is when x' + thr ≥ f·2^20;
// after it x' < 2^16, which is when the decoder reads one.
#pragma once

#include <array>
#include <cassert>
#include <cstdint>
#include <vector>

#include "format/bytes.h"
#include "format/freq_table.h"
#include "format/host_device.h"
#include "format/status.h"

namespace nwc {

inline constexpr int kLanes = 32;
inline constexpr uint32_t kRansLow = 1u << 16;

using LaneStates = std::array<uint32_t, kLanes>;

// Position in a line that a lane holds.
NWC_HOST_DEVICE constexpr int LanePosition(int lane) {
  return 16 * (lane >> 4) + 2 * (lane & 7) + ((lane >> 3) & 1);
}

inline LaneStates InitialLaneStates() {
  LaneStates states;
  states.fill(kRansLow);
  return states;
}

// Reads words; a read past the end is remembered and yields 0.
class WordReader {
 public:
  // `bytes` has an even length and any alignment.
  explicit WordReader(ByteSpan bytes) : bytes_(bytes) {}
  uint32_t Next() {
    if (bytes_.size() - at_ < 2) {
      overrun_ = true;
      return 0;
    }
    const auto word = LoadLittle<uint16_t>(&bytes_[at_]);
    at_ += 2;
    return word;
  }
  [[nodiscard]] bool finished() const { return !overrun_ && at_ == bytes_.size(); }
  [[nodiscard]] bool overrun() const { return overrun_; }

 private:
  ByteSpan bytes_;
  size_t at_ = 0;
  bool overrun_ = false;
};

// The bucket in which a look-up ends.
NWC_HOST_DEVICE inline uint32_t BucketOf(uint32_t x, int bucket_bits) {
  return x & ((1u << bucket_bits) - 1);
}

// One look-up that ended in `entry`: returns the 8-bit symbol field and replaces x by x', before
// renormalisation. `capacity` is kProbabilityScale >> bucket_bits.
NWC_HOST_DEVICE inline uint32_t DecodeEntry(const AliasBucket& entry, int bucket_bits,
                                            uint32_t capacity, uint32_t* x) {
  const uint32_t low = (*x & (kProbabilityScale - 1)) >> bucket_bits;
  const uint32_t biased = low - capacity;  // modulo 2^32
  const bool primary = static_cast<int32_t>(biased + (entry.primary >> 20)) < 0;
  const uint32_t word = primary ? entry.primary : entry.alias;
  *x = (word & 0xFFF) * (*x >> kProbabilityBits) + biased + (word >> 20);
  return (word >> 12) & 0xFF;
}

NWC_HOST_DEVICE inline uint32_t DecodeSymbol(const AliasBucket* table, int bucket_bits,
                                             uint32_t* x) {
  return DecodeEntry(table[BucketOf(*x, bucket_bits)], bucket_bits,
                     kProbabilityScale >> bucket_bits, x);
}

// The same in a table of BuildWideAliasTable: returns the symbol.
NWC_HOST_DEVICE inline uint32_t DecodeWideSymbol(const AliasBucket* table, int bucket_bits,
                                                 uint32_t* x) {
  const uint32_t bucket = *x & ((1u << bucket_bits) - 1);
  const uint32_t biased =
      ((*x & (kProbabilityScale - 1)) >> bucket_bits) - (kProbabilityScale >> bucket_bits);
  const AliasBucket entry = table[bucket];
  const bool primary = static_cast<int32_t>(biased + (entry.primary >> 20)) < 0;
  const uint32_t word = primary ? entry.primary : entry.alias;
  *x = (word & 0xFFF) * (*x >> kProbabilityBits) + biased + (word >> 20);
  if (primary) return bucket;
  return (entry.primary >> 12 & 0xFF) << 8 | (entry.alias >> 12 & 0xFF);
}

// Pushes `symbol` onto state x; appends at most one word. Symbols go in reverse decoding order.
inline void EncodeSymbol(const EncodeTable& table, uint32_t symbol, uint32_t* x,
                         std::vector<uint16_t>* words) {
  const EncodeTable::Symbol& s = table.symbols[symbol];
  assert(s.frequency != 0);
  if (uint64_t{*x} + s.negative_ranks >= uint64_t{s.frequency} << 20) {
    words->push_back(static_cast<uint16_t>(*x & 0xFFFF));
    *x >>= 16;
  }
  const uint32_t shifted = *x + s.negative_ranks;
  const uint32_t high = shifted / s.frequency;
  *x = (high << kProbabilityBits) | table.slots[s.first + shifted % s.frequency];
}

// R26: what must hold once everything is decoded.
inline Status CheckRansEnd(const LaneStates& states, bool words_finished) {
  bool all_low = true;
  for (const uint32_t x : states) all_low = all_low && x == kRansLow;
  if (!words_finished || !all_low) {
    return Status::Corrupt(26, "entropy-coded data ends wrong");
  }
  return {};
}

}  // namespace nwc
