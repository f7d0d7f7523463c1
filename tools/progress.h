// Progress on stderr: a bar with GB/s and ETA on a terminal, a plain line now and then in a pipe,
// nothing when quiet.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace nwc {

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();  // ends the bar's line
  // A new stage (another name, or bytes_total) starts the clock again. Cheap to call often.
  void Update(const std::string& stage, const std::string& item, uint64_t bytes_done,
              uint64_t bytes_total);

 private:
  bool quiet_, terminal_, line_open_ = false;
  std::string stage_;
  uint64_t total_ = 0;
  std::chrono::steady_clock::time_point begun_, shown_;
};

}  // namespace nwc
