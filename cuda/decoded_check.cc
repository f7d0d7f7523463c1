#include "cuda/decoded_check.h"

#include <algorithm>

namespace nwc {

Result<std::unique_ptr<DecodedCheck>> DecodedCheck::Create(DeviceRuntime* runtime,
                                                           size_t pinned_bytes) {
  std::unique_ptr<DecodedCheck> check(new DecodedCheck(runtime));
  NWC_ASSIGN_OR_RETURN(check->pinned_, PinnedBuffer::Allocate(runtime, pinned_bytes));
  NWC_ASSIGN_OR_RETURN(check->stream_, OwnedStream::Create(runtime));
  for (OwnedEvent& event : check->copied_) {
    NWC_ASSIGN_OR_RETURN(event, OwnedEvent::Create(runtime));
  }
  return check;
}

// Waits even after a copy of which the event could not be recorded.
DecodedCheck::~DecodedCheck() { WaitForStream(runtime_, stream_); }

MutableByteSpan DecodedCheck::Half(size_t half) const {
  const size_t size = pinned_.span().size() / 2;
  return pinned_.span().subspan(half * size, size);
}

Status DecodedCheck::Copy(DeviceAddress from, size_t size_bytes, size_t half) {
  NWC_RETURN_IF_ERROR(runtime_->CopyToHost(Half(half).data(), from, size_bytes, stream_.get()));
  return runtime_->Record(copied_[half].get(), stream_.get());
}

Result<Hash128> DecodedCheck::HashOf(DeviceAddress bytes, size_t size_bytes) {
  const size_t step = Half(0).size();
  const auto size_at = [&](size_t at) { return std::min(step, size_bytes - at); };
  StreamingHash128 hash;
  if (size_bytes > 0) NWC_RETURN_IF_ERROR(Copy(bytes, size_at(0), 0));
  size_t half = 0;
  for (size_t at = 0; at < size_bytes; at += step, half = 1 - half) {
    const size_t next = at + size_at(at);
    if (next < size_bytes) NWC_RETURN_IF_ERROR(Copy(bytes + next, size_at(next), 1 - half));
    NWC_RETURN_IF_ERROR(runtime_->Synchronize(copied_[half].get()));
    hash.Update(Half(half).first(size_at(at)));
  }
  return hash.Digest();
}

}  // namespace nwc
