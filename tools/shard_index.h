// model.safetensors.index.json: which file of a sharded checkpoint holds which tensor.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "format/status.h"

namespace nwc {

inline constexpr const char* kShardIndexName = "model.safetensors.index.json";

// The object `weight_map` of the index: file name by tensor name. Other fields are ignored, nesting
// beyond 8 levels and names used twice are rejected. File names are plain (CheckFileName).
Result<std::map<std::string, std::string>> ParseShardIndex(std::string_view json);

// The name of a file or shard as spec/format.md R19 wants it: no path, no control bytes.
Status CheckFileName(const std::string& name);

}  // namespace nwc
