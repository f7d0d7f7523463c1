// The hash of what a device decoded (R29): bytes come back in pieces through pinned memory and are
// hashed on the host, one piece while the next is being copied.
#pragma once

#include <array>
#include <memory>

#include "cuda/device_memory.h"
#include "format/checksum.h"

namespace nwc {

class DecodedCheck {
 public:
  // Has `pinned_bytes` of pinned memory, at least 2.
  static Result<std::unique_ptr<DecodedCheck>> Create(DeviceRuntime* runtime, size_t pinned_bytes);
  ~DecodedCheck();  // waits for copies
  DecodedCheck(const DecodedCheck&) = delete;
  DecodedCheck& operator=(const DecodedCheck&) = delete;

  // Of device memory in which everything is there by now.
  Result<Hash128> HashOf(DeviceAddress bytes, size_t size_bytes);

 private:
  explicit DecodedCheck(DeviceRuntime* runtime) : runtime_(runtime) {}
  Status Copy(DeviceAddress from, size_t size_bytes, size_t half);
  [[nodiscard]] MutableByteSpan Half(size_t half) const;

  DeviceRuntime* runtime_;
  PinnedBuffer pinned_;
  OwnedStream stream_;
  std::array<OwnedEvent, 2> copied_;  // of each half
};

}  // namespace nwc
