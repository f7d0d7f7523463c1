// Adds the time it lives to a sum.
#pragma once

#include <chrono>

namespace nwc {

class ScopeSeconds {
 public:
  explicit ScopeSeconds(double* sum) : sum_(sum) {}
  ~ScopeSeconds() {
    *sum_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_).count();
  }
  ScopeSeconds(const ScopeSeconds&) = delete;
  ScopeSeconds& operator=(const ScopeSeconds&) = delete;

 private:
  double* const sum_;
  const std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

}  // namespace nwc
