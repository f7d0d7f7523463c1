#include "loader/read_queue.h"

#include <algorithm>
#include <cstdlib>
#include <string_view>

namespace nwc {
namespace {

Status UringRefused(const ByteSource& source, const std::string& reason) {
  return Status(ErrorCode::kIo, source.name() + ": io_uring was asked for and is refused (" +
                                    reason + "): use pread");
}

}  // namespace

Result<IoChoice> ChooseIo(const ByteSource& source, IoMode mode) {
  if (source.descriptor() < 0) return IoChoice{false, false, source.traits().kind};
  std::string who = "asked for";
  if (const char* value = std::getenv("NWC_IO"); mode == IoMode::kAuto && value != nullptr) {
    const std::string_view name = value;
    if (name != "pread" && name != "uring") {
      return Status(ErrorCode::kUsage,
                    "NWC_IO is '" + std::string(name) + "', expected 'pread' or 'uring'");
    }
    mode = name == "pread" ? IoMode::kPread : IoMode::kUring;
    who = "NWC_IO=" + std::string(name);
  }
  if (mode == IoMode::kPread) return IoChoice{false, false, "pread: " + who};
  const auto probe = UringReader::Create(source, static_cast<unsigned>(kReadsInFlight), {});
  if (probe.ok()) {
    return IoChoice{true, mode == IoMode::kUring,
                    "io_uring, " + std::to_string(kReadsInFlight) + " reads in flight"};
  }
  const std::string& reason = probe.status().message();
  if (mode == IoMode::kUring) return UringRefused(source, reason);
  return IoChoice{false, false, "pread: io_uring refused (" + reason + ")"};
}

Result<std::unique_ptr<ReadQueue>> ReadQueue::Create(const ByteSource& source,
                                                     const IoChoice& choice, size_t depth,
                                                     MutableByteSpan staging) {
  std::unique_ptr<ReadQueue> queue(new ReadQueue(depth));
  if (choice.uring) {
    auto uring = UringReader::Create(source, static_cast<unsigned>(depth), staging);
    if (uring.ok()) {
      queue->uring_ = std::move(*uring);
      return queue;
    }
    // It was allowed when the file was opened; locked memory may be short by now.
    if (choice.required) return UringRefused(source, uring.status().message());
  }
  queue->pread_ =
      std::make_unique<PreadReader>(source, std::min(depth, source.traits().parallel_reads));
  return queue;
}

void ReadQueue::Submit(const ReadRequest& request) {
  if (uring_ != nullptr) {
    uring_->Submit(request);
  } else {
    pread_->Submit(request);
  }
}

ReadCompletion ReadQueue::Wait() { return uring_ != nullptr ? uring_->Wait() : pread_->Wait(); }

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
