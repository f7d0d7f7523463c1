// Opens containers for the commands of nwc.
#pragma once

#include <memory>
#include <string>

#include "loader/loader.h"

namespace nwc {

// Loader::Open; a missing file is kIo, and a file that is something else says what it is.
Result<std::unique_ptr<Loader>> OpenContainer(const std::string& path, const LoadOptions& options);

// Whether the file begins as a container does. False when it cannot be read.
bool LooksLikeContainer(const std::string& path);

}  // namespace nwc
