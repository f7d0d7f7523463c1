// Names of the temporary files of this process, in memory a signal handler may read.
#pragma once

#include <string>

namespace nwc {

// A slot that holds `path`, or -1 when none is free or the path is too long.
int RegisterTemporary(const std::string& path);
void UnregisterTemporary(int slot);  // -1 is allowed
bool IsRegisteredTemporary(const std::string& path);

// Async-signal-safe.
void UnlinkRegisteredTemporaries();

}  // namespace nwc
