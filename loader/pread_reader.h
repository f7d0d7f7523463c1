// Reads through ByteSource::Read on a few threads, of any number of sources. Submit and Wait belong
// to one thread, Interrupt to any.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "loader/read_request.h"

namespace nwc {

class PreadReader {
 public:
  // Throws std::system_error when no thread can be started. `check`, if any, outlives the reader.
  explicit PreadReader(size_t threads, const ReadCheck* check = nullptr);
  // Drops requests that no thread has begun and waits for the others, which the source may give up.
  ~PreadReader();
  PreadReader(const PreadReader&) = delete;
  PreadReader& operator=(const PreadReader&) = delete;

  void Submit(const ReadRequest& request);
  // in_flight() > 0; kCancelled once interrupted or, soon after, *cancel is set (or null).
  ReadCompletion Wait(const std::atomic<bool>* cancel = nullptr);
  void Interrupt();  // no further request is begun, and Wait waits no more
  [[nodiscard]] size_t in_flight() const { return in_flight_; }
  [[nodiscard]] size_t threads() const { return threads_.size(); }

 private:
  void Run();
  void Stop();

  const ReadCheck* const check_;
  size_t in_flight_ = 0;  // submitted and not yet returned by Wait
  std::mutex mutex_;
  std::condition_variable wake_, completed_;
  std::deque<ReadRequest> requests_;
  std::vector<ReadCompletion> completions_;  // oldest first; has room for all in flight
  std::atomic<bool> stopped_ = false;        // changed with the mutex held
  std::vector<std::thread> threads_;
};

}  // namespace nwc
