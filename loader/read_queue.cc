#include "loader/read_queue.h"

#include <algorithm>

namespace nwc {

Result<std::unique_ptr<ReadQueue>> ReadQueue::Create(std::span<const IoChoice* const> choices,
                                                     size_t depth, MutableByteSpan staging) {
  std::unique_ptr<ReadQueue> queue(new ReadQueue(depth));
  const bool uring = std::all_of(choices.begin(), choices.end(),
                                 [](const IoChoice* choice) { return choice->uses_uring(); });
  if (uring) {
    auto reader = UringReader::Create(static_cast<unsigned>(depth), staging);
    if (reader.ok()) {
      queue->uring_ = std::move(*reader);
      return queue;
    }
    // It was allowed when the file was opened; locked memory may be short by now.
    for (const IoChoice* choice : choices) {
      if (!choice->required) continue;
      return Status(ErrorCode::kIo, choice->from.source->name() +
                                        ": io_uring was asked for and is refused now (" +
                                        reader.status().message() + "): use auto or pread");
    }
  }
  size_t threads = 1;
  for (const IoChoice* choice : choices) threads = std::max(threads, choice->parallel_reads);
  queue->pread_ = std::make_unique<PreadReader>(std::min(depth, threads));
  return queue;
}

void ReadQueue::Submit(const ReadRequest& request) {
  if (uring_ != nullptr) {
    uring_->Submit(request);
  } else {
    pread_->Submit(request);
  }
}

ReadCompletion ReadQueue::Wait(const std::atomic<bool>* cancel) {
  return uring_ != nullptr ? uring_->Wait() : pread_->Wait(cancel);
}

void ReadQueue::Interrupt() {
  if (pread_ != nullptr) pread_->Interrupt();
}

bool ReadQueue::Drain() {
  pread_.reset();  // its destructor waits for its threads
  return uring_ == nullptr || uring_->Drain();
}

size_t ReadQueue::in_flight() const {
  return uring_ != nullptr ? uring_->in_flight() : pread_->in_flight();
}

}  // namespace nwc
