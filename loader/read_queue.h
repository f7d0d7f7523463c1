// One queue of asynchronous reads over io_uring or, where that is refused, threads with
// ByteSource::Read. Used by one thread, Interrupt by any.
#pragma once

#include <atomic>
#include <memory>
#include <span>

#include "loader/io_choice.h"
#include "loader/pread_reader.h"
#include "loader/read_request.h"
#include "loader/uring_reader.h"

namespace nwc {

struct ReadQueueOptions {
  // With more than 0, files that io_uring would copy out of the page cache, all on the thread that
  // submits, are read by so many threads, unless io_uring was asked for.
  size_t copying_threads = 0;
  ReadCheck check = nullptr;
};

class ReadQueue {
 public:
  // For requests that read from any of `choices` (at least one), which outlive the queue.
  // Destinations lie inside `staging`, which outlives it too. io_uring runs where all of them have
  // it; a source in memory or on a web server takes the others to threads.
  static Result<std::unique_ptr<ReadQueue>> Create(std::span<const IoChoice* const> choices,
                                                   size_t depth, MutableByteSpan staging,
                                                   ReadQueueOptions options = {});

  void Submit(const ReadRequest& request);  // has_room()
  // in_flight() > 0. Gives kCancelled soon after *cancel is set (or null), as far as reads can be
  // left alone.
  ReadCompletion Wait(const std::atomic<bool>* cancel = nullptr);
  // Ends what can end early: later Waits may give kCancelled. io_uring's reads run to their end.
  void Interrupt();
  [[nodiscard]] size_t in_flight() const;
  [[nodiscard]] bool has_room() const { return in_flight() < depth_; }
  [[nodiscard]] bool uses_uring() const { return uring_ != nullptr; }
  [[nodiscard]] size_t threads() const { return pread_ == nullptr ? 0 : pread_->threads(); }
  // Ends all reads in flight. False when their destinations must never be freed: see UringReader.
  bool Drain();

 private:
  ReadQueue(size_t depth, ReadCheck check) : depth_(depth), check_(std::move(check)) {}

  size_t depth_;
  ReadCheck check_;
  std::unique_ptr<UringReader> uring_;  // exactly one of the two is set
  std::unique_ptr<PreadReader> pread_;
};

}  // namespace nwc
