#include "loader/uring_reader.h"

#include <liburing.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <system_error>

#include "loader/file_source.h"
#include "loader/transient_error.h"

namespace nwc {
namespace {

constexpr size_t kLongestRead = size_t{1} << 30;        // the kernel's counts are 32-bit
constexpr size_t kLargestRegistered = size_t{1} << 30;  // limit of one registered buffer

// ThreadSanitizer does not see liburing map and unmap its rings, and takes two rings that had the
// same address one after the other for shared memory. The order of these calls tells it better.
void OrderRingLifetimes() {
  static std::atomic<unsigned> sequence{0};
  sequence.fetch_add(1, std::memory_order_acq_rel);
}

bool IsAligned(const ReadRequest& request) {
  return request.offset % kDirectBlock == 0 &&
         reinterpret_cast<uintptr_t>(request.destination.data()) % kDirectBlock == 0;
}

}  // namespace

UringReader::UringReader(unsigned depth, MutableByteSpan staging)
    : staging_(staging), ring_(std::make_unique<io_uring>()), slots_(depth) {
  for (size_t i = depth; i-- > 0;) free_slots_.push_back(i);
}

Result<std::unique_ptr<UringReader>> UringReader::Create(unsigned depth, MutableByteSpan staging) {
  std::unique_ptr<UringReader> reader(new UringReader(depth, staging));
  if (const int result = io_uring_queue_init(depth, reader->ring_.get(), 0); result < 0) {
    return Status(ErrorCode::kIo, std::generic_category().message(-result));
  }
  reader->ring_ready_ = true;
  OrderRingLifetimes();
  if (!staging.empty() && staging.size() <= kLargestRegistered) {
    // Refused where little memory may be locked; plain reads do the same then.
    const iovec vector{staging.data(), staging.size()};
    reader->registered_ = io_uring_register_buffers(reader->ring_.get(), &vector, 1) == 0;
  }
  return reader;
}

UringReader::~UringReader() {
  if (!ring_ready_) return;
  Drain();
  OrderRingLifetimes();
  io_uring_queue_exit(ring_.get());
}

bool UringReader::Drain() {
  while (in_flight() > 0 && !abandoned_) {
    const Event event = NextEvent();
    if (!abandoned_) free_slots_.push_back(event.slot);
  }
  return !abandoned_;
}

void UringReader::Submit(const ReadRequest& request) {
  assert(!free_slots_.empty() && !request.destination.empty());
  const size_t slot = free_slots_.back();
  free_slots_.pop_back();
  slots_[slot] = {};
  slots_[slot].request = request;
  slots_[slot].end = request.offset + request.destination.size();
  Queue(slot);
}

// The kernel hears of it at the next NextEvent, together with others.
void UringReader::Queue(size_t slot) {
  io_uring_sqe* entry = io_uring_get_sqe(ring_.get());
  assert(entry != nullptr);  // one entry a slot, and the ring has at least as many
  Slot& s = slots_[slot];
  const MutableByteSpan to = s.request.destination;
  s.direct =
      s.request.from.direct >= 0 && !s.refused && IsAligned(s.request) && to.size() >= kDirectBlock;
  const int descriptor = s.direct ? s.request.from.direct : s.request.from.source->descriptor();
  size_t length = std::min(to.size(), kLongestRead);
  if (s.direct) length -= length % kDirectBlock;
  const bool inside = registered_ && to.data() >= staging_.data() &&
                      to.data() + to.size() <= staging_.data() + staging_.size();
  if (inside) {
    io_uring_prep_read_fixed(entry, descriptor, to.data(), static_cast<unsigned>(length),
                             s.request.offset, 0);
  } else {
    // The vectored read is the one that every kernel with io_uring has.
    s.vector = {to.data(), length};
    io_uring_prep_readv(entry, descriptor, &s.vector, 1, s.request.offset);
  }
  io_uring_sqe_set_data64(entry, slot);
}

UringReader::Event UringReader::NextEvent() {
  io_uring_cqe* entry = nullptr;
  int tries = 0;
  while (io_uring_sq_ready(ring_.get()) > 0 || io_uring_peek_cqe(ring_.get(), &entry) != 0) {
    const int result = io_uring_submit_and_wait(ring_.get(), 1);
    // An interrupted wait goes on: reads take as long as they take.
    if (result >= 0 || result == -EINTR) continue;
    if (IsTransientError(-result) && PauseBeforeRetry(++tries)) continue;
    abandoned_ = true;
    return {0, result};
  }
  const Event event{static_cast<size_t>(io_uring_cqe_get_data64(entry)), entry->res};
  io_uring_cqe_seen(ring_.get(), entry);
  return event;
}

bool UringReader::Advance(const Event& event, Status* status) {
  Slot& slot = slots_[event.slot];
  ReadRequest& request = slot.request;
  const std::string& name = request.from.source->name();
  if (event.result == -EINVAL && slot.direct) {
    slot.refused = true;
    Queue(event.slot);
    return false;
  }
  if (event.result < 0) {
    if (IsTransientError(-event.result) && PauseBeforeRetry(++slot.tries)) {
      Queue(event.slot);
      return false;
    }
    *status = ReadFailed(name, request.offset, -event.result);
    return true;
  }
  if (event.result == 0) {
    *status = EndedEarly(name, request.offset, slot.end);
    return true;
  }
  slot.tries = 0;
  const auto got = static_cast<size_t>(event.result);
  request.offset += got;
  request.destination = request.destination.subspan(got);
  if (request.destination.empty()) return true;
  Queue(event.slot);
  return false;
}

ReadCompletion UringReader::Wait() {
  assert(in_flight() > 0);
  while (true) {
    const Event event = NextEvent();
    ReadCompletion completion;
    if (abandoned_) {
      completion.status = Status(
          ErrorCode::kIo, "io_uring failed: " + std::generic_category().message(-event.result));
      return completion;
    }
    if (!Advance(event, &completion.status)) continue;
    completion.tag = slots_[event.slot].request.tag;
    free_slots_.push_back(event.slot);
    return completion;
  }
}

}  // namespace nwc
