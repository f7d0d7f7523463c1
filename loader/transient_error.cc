#include "loader/transient_error.h"

#include <cerrno>
#include <chrono>
#include <thread>

namespace nwc {
namespace {

constexpr int kQuickRetries = 16;
constexpr int kMostRetries = 250;

}  // namespace

bool IsTransientError(int error) { return error == EINTR || error == EAGAIN || error == EBUSY; }

bool PauseBeforeRetry(int tries) {
  if (tries > kMostRetries) return false;
  if (tries <= kQuickRetries) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace nwc
