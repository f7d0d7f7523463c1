#include "loader/read_queue.h"

#include <algorithm>

namespace nwc {

Result<std::unique_ptr<ReadQueue>> ReadQueue::Create(std::span<const IoChoice* const> choices,
                                                     size_t depth, MutableByteSpan staging,
                                                     ReadQueueOptions options) {
  std::unique_ptr<ReadQueue> queue(new ReadQueue(depth, std::move(options.check)));
  const bool uring = std::all_of(choices.begin(), choices.end(),
                                 [](const IoChoice* choice) { return choice->uses_uring(); });
  const bool copies = options.copying_threads > 0 &&
                      std::all_of(choices.begin(), choices.end(), [](const IoChoice* choice) {
                        return choice->mode == IoMode::kUring && !choice->required;
                      });
  if (uring && !copies) {
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
  size_t threads = copies ? options.copying_threads : 1;
  for (const IoChoice* choice : choices) threads = std::max(threads, choice->parallel_reads);
  const ReadCheck* const check = queue->check_ ? &queue->check_ : nullptr;
  queue->pread_ = std::make_unique<PreadReader>(std::min(depth, threads), check);
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
  if (pread_ != nullptr) return pread_->Wait(cancel);
  ReadCompletion completion = uring_->Wait();
  if (completion.status.ok() && check_) completion.checked = check_(completion.tag);
  return completion;
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
