// One connection between two ranks of a group: whole messages, each within a time.
//
//   message   magic u32 | kind u32 | size u64 | bytes
//
// Both ends are processes of one build on one machine: values travel as they are in memory.
#pragma once

#include <chrono>
#include <cstdint>

#include "format/bytes.h"
#include "format/status.h"
#include "loader/descriptor.h"

namespace nwc {

enum class RankMessage : uint32_t { kHello = 1, kStatus = 2, kBytes = 3 };

class RankSocket {
 public:
  using Clock = std::chrono::steady_clock;

  RankSocket() = default;
  // `peer`: the rank at the other end, for messages.
  RankSocket(Descriptor descriptor, size_t peer)
      : descriptor_(std::move(descriptor)), peer_(peer) {}

  // kIo when the other rank is gone, or does not take or send it in time. kInternal for a message
  // of another kind or size than expected: the ranks are out of step.
  Status Send(RankMessage kind, ByteSpan bytes, Clock::time_point end);
  Status Receive(RankMessage kind, MutableByteSpan bytes, Clock::time_point end);

  [[nodiscard]] bool open() const { return descriptor_.get() >= 0; }
  void Close() { descriptor_ = {}; }
  void set_peer(size_t peer) { peer_ = peer; }

 private:
  Status SendAll(ByteSpan bytes, Clock::time_point end);
  Status ReceiveAll(MutableByteSpan bytes, Clock::time_point end);
  Status Wait(short events, Clock::time_point end);
  [[nodiscard]] Status Gone(const char* what) const;

  Descriptor descriptor_;
  size_t peer_ = 0;
};

}  // namespace nwc
