// Reads through io_uring: many in flight from one thread, of any number of files. Submit and Wait
// belong to one thread.
#pragma once

#include <sys/uio.h>

#include <memory>
#include <string>
#include <vector>

#include "loader/read_request.h"

struct io_uring;

namespace nwc {

class UringReader {
 public:
  // At most `depth` reads in flight. Destinations inside `staging`, which may be empty, go without
  // page pinning at every read where the kernel lets us register it. kIo with the kernel's reason
  // alone when it refuses io_uring.
  static Result<std::unique_ptr<UringReader>> Create(unsigned depth, MutableByteSpan staging);
  ~UringReader();  // drains
  UringReader(const UringReader&) = delete;
  UringReader& operator=(const UringReader&) = delete;

  // in_flight() < depth; the source has a descriptor. Whole blocks go past the page cache where the
  // request has a descriptor for that and offset and memory are aligned; the rest, and what the
  // file system then refuses, through it.
  void Submit(const ReadRequest& request);
  ReadCompletion Wait();  // in_flight() > 0
  [[nodiscard]] size_t in_flight() const { return slots_.size() - free_slots_.size(); }

  [[nodiscard]] bool registered() const { return registered_; }
  // Waits for all reads in flight and forgets them. False when the ring itself failed: the kernel
  // may write into their destinations for ever, so these must not be freed.
  bool Drain();

 private:
  struct Slot {
    ReadRequest request;   // what is left to read
    uint64_t end = 0;      // offset after the whole request
    int tries = 0;         // that moved nothing, in a row
    bool direct = false;   // as it was queued last
    bool refused = false;  // O_DIRECT was
    iovec vector{};
  };
  struct Event {
    size_t slot = 0;
    int result = 0;  // bytes, or negative errno
  };

  UringReader(unsigned depth, MutableByteSpan staging);
  void Queue(size_t slot);
  Event NextEvent();
  // Moves a read on; true when nothing is left to do for it.
  bool Advance(const Event& event, Status* status);

  MutableByteSpan staging_;
  std::unique_ptr<io_uring> ring_;
  bool ring_ready_ = false;
  bool registered_ = false;
  bool abandoned_ = false;
  std::vector<Slot> slots_;
  std::vector<size_t> free_slots_;
};

}  // namespace nwc
