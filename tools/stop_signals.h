// SIGINT, SIGTERM and SIGHUP as a flag to poll; the second one removes temporaries and ends the
// process at once.
#pragma once

#include <atomic>

namespace nwc {

// Installs the handlers, and ignores SIGPIPE and SIGXFSZ: writes report those as errors. A signal
// that is ignored on entry (nohup) stays ignored.
void InstallStopSignals();

// Set by the first signal.
const std::atomic<bool>& StopRequested();

// The signal that came first, or 0.
int StopSignal();

}  // namespace nwc
