#include "tools/stop_signals.h"

#include <signal.h>
#include <unistd.h>

#include "tools/atomic_file.h"

namespace nwc {
namespace {

std::atomic<bool> stop_requested{false};
std::atomic<int> stop_signal{0};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free,
              "a signal handler writes them");

void HandleSignal(int signal) {
  int none = 0;
  if (stop_signal.compare_exchange_strong(none, signal)) {
    stop_requested = true;
    return;
  }
  AtomicFile::RemoveAllTemporaries();
  _exit(128 + signal);
}

}  // namespace

void InstallStopSignals() {
  struct sigaction action {};
  action.sa_handler = HandleSignal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction before {};
    if (sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN) continue;
    sigaction(signal, &action, nullptr);
  }
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  sigaction(SIGXFSZ, &ignore, nullptr);
}

const std::atomic<bool>& StopRequested() { return stop_requested; }

int StopSignal() { return stop_signal; }

}  // namespace nwc
