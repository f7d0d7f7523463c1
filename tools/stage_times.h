// Where the time of a program goes.
#pragma once

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace nwc {

struct StageSeconds {
  std::string stage;
  double seconds = 0;
};

// Stages in the order in which they were first added.
class StageTimes {
 public:
  void Add(const std::string& stage, double seconds) {
    const auto known = std::find_if(stages_.begin(), stages_.end(),
                                    [&](const StageSeconds& s) { return s.stage == stage; });
    if (known == stages_.end()) {
      stages_.push_back({stage, seconds});
    } else {
      known->seconds += seconds;
    }
  }
  [[nodiscard]] double Sum() const {
    double sum = 0;
    for (const StageSeconds& s : stages_) sum += s.seconds;
    return sum;
  }
  [[nodiscard]] const std::vector<StageSeconds>& stages() const { return stages_; }

 private:
  std::vector<StageSeconds> stages_;
};

class Stopwatch {
 public:
  [[nodiscard]] double Seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  }

 private:
  std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace nwc
