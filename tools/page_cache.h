// Which pages of a file the operating system holds in memory.
#pragma once

#include <string>

#include "format/status.h"

namespace nwc {

// Share of the file's pages that are resident, 0 to 1, by mincore. The kernel tells only those who
// own or may write the file; to others all pages look resident. 0 for a URL.
Result<double> ResidentShare(const std::string& path);

// Asks the kernel to drop the file's pages, after writing them back. kUnsupported for a URL.
Status DropPages(const std::string& path);

}  // namespace nwc
