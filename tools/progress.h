// Progress on stderr: a bar with GB/s and ETA on a terminal, a plain line now and then in a pipe,
// nothing when quiet.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

namespace nwc {

class Progress {
 public:
  explicit Progress(bool quiet);
  ~Progress();  // ends the bar's line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // A new stage (another name, or bytes_total) starts the clock again. Cheap to call often; one
  // thread at a time. A total below 1 MB is taken for a count of steps and shown without GB/s.
  void Update(const std::string& stage, const std::string& item, uint64_t bytes_done,
              uint64_t bytes_total);

  // Ends the bar's line, so that other text may follow.
  void EndLine();

 private:
  using Clock = std::chrono::steady_clock;
  [[nodiscard]] bool TimeToShow(Clock::time_point now, double fraction, bool last) const;

  bool quiet_, terminal_, line_open_ = false;
  std::string stage_;
  uint64_t total_ = 0;
  uint64_t first_done_ = 0;  // bytes_done when the clock began
  double shown_fraction_ = 0;
  Clock::time_point begun_, shown_;
};

// What progress looks like: of one stage, so far. Pure functions.
struct ProgressState {
  std::string stage, item;
  uint64_t bytes_done = 0, bytes_total = 0;
  double seconds = 0;       // since the clock began
  uint64_t first_done = 0;  // bytes_done at that time
};
std::string FormatProgressLine(const ProgressState& state);
// Fits into `columns` cells of a terminal.
std::string FormatProgressBar(const ProgressState& state, size_t columns);

}  // namespace nwc
