// Errors of the operating system that ask to try again, and how often that is done.
#pragma once

namespace nwc {

// EINTR, EAGAIN, EBUSY.
bool IsTransientError(int error);

// Called before something that failed `tries` times in a row (1 at first) is tried again: lets
// others run, later waits a millisecond. False, at once, after a quarter of a second of that.
bool PauseBeforeRetry(int tries);

}  // namespace nwc
