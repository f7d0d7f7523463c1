// What the ranks of a group that load one model tell each other: that they mean the same plan, that
// all is well before every read, and the read. By itself, a rank without a group reads for itself.
#pragma once

#include <cstdint>
#include <span>

#include "cuda/broadcast.h"
#include "cuda/device_plan.h"

namespace nwc {

class SharedReads {
 public:
  explicit SharedReads(Broadcaster* ranks) : ranks_(ranks) {}

  [[nodiscard]] bool alone() const { return ranks_ == nullptr; }
  // Whether this rank reads files.
  [[nodiscard]] bool reads() const { return alone() || ranks_->rank() == kReader; }

  // `mine` when alone; else Broadcaster::Agree.
  Status Agree(const Status& mine) { return alone() ? mine : ranks_->Agree(mine); }

  // Makes all ranks plan what the reader would: they take its way of reading the parts and its
  // budget for reads. kUsage on every rank when one has other files or wants other tensors.
  Status AgreeOnPlan(std::span<DevicePart> parts, DeviceBudget* budget);

  // Not for a rank alone. A read that Agree was just called for: `pinned` of the reader to that of
  // all, and for ranks that broadcast on their devices `device`, once the stream comes to it,
  // instead. *copied: whether `device` will have the bytes. `for_host`: ranges of `pinned` that the
  // host needs in any case.
  Status Share(DeviceRuntime* runtime, MutableByteSpan pinned,
               std::span<const MutableByteSpan> for_host, DeviceAddress device, DeviceStream stream,
               bool* copied);

  // DeviceRuntime::Synchronize, with an end where other ranks might keep the device waiting.
  Status Await(DeviceRuntime* runtime, DeviceEvent event);

 private:
  static constexpr size_t kReader = 0;

  Status BroadcastParts(std::span<const MutableByteSpan> parts);

  Broadcaster* ranks_;
};

}  // namespace nwc
