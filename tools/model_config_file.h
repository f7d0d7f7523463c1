// The config.json of a checkpoint folder.
#pragma once

#include <string>

#include "format/status.h"

namespace nwc {

// Its text. kIo when it is missing, kUsage when it is larger than 16 MiB.
Result<std::string> ReadModelConfig(const std::string& folder);

}  // namespace nwc
