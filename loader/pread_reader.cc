#include "loader/pread_reader.h"

#include <cassert>
#include <chrono>
#include <new>

#include "loader/without_exceptions.h"

namespace nwc {
namespace {

constexpr std::chrono::milliseconds kCancelPoll(5);

}  // namespace

PreadReader::PreadReader(size_t threads, const ReadCheck* check) : check_(check) {
  threads_.reserve(threads);
  try {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  } catch (...) {
    Stop();
    throw;
  }
}

PreadReader::~PreadReader() { Stop(); }

void PreadReader::Interrupt() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  wake_.notify_all();
  completed_.notify_all();
}

void PreadReader::Stop() {
  Interrupt();
  for (std::thread& thread : threads_) thread.join();
}

void PreadReader::Submit(const ReadRequest& request) {
  {
    const std::lock_guard lock(mutex_);
    completions_.reserve(in_flight_ + 1);
    requests_.push_back(request);
  }
  ++in_flight_;
  wake_.notify_one();
}

ReadCompletion PreadReader::Wait(const std::atomic<bool>* cancel) {
  assert(in_flight_ > 0);
  std::unique_lock lock(mutex_);
  const auto done = [this] { return stopped_ || !completions_.empty(); };
  if (cancel == nullptr) completed_.wait(lock, done);
  while (!completed_.wait_for(lock, kCancelPoll, done) && !*cancel) {
  }
  if (completions_.empty()) {
    return {ReadCompletion::kNoRequest, Status(ErrorCode::kCancelled, "reading was interrupted")};
  }
  ReadCompletion completion = std::move(completions_.front());
  completions_.erase(completions_.begin());
  --in_flight_;
  return completion;
}

void PreadReader::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopped_ || !requests_.empty(); });
    if (stopped_) return;
    const ReadRequest request = requests_.front();
    requests_.pop_front();
    lock.unlock();
    Status status, checked;
    try {
      status =
          request.from.source->ReadUnlessStopped(request.offset, request.destination, stopped_);
      if (status.ok() && check_ != nullptr) checked = (*check_)(request.tag);
    } catch (const std::bad_alloc&) {
      status = OutOfMemory(request.from.source->name());
    }
    lock.lock();
    completions_.push_back({request.tag, std::move(status), std::move(checked)});
    completed_.notify_one();
  }
}

}  // namespace nwc
