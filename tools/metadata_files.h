// The small files beside the weights of a checkpoint: configuration, tokenizer, licence.
#pragma once

#include <string>
#include <vector>

#include "encoder/tensor_source.h"
#include "format/status.h"

namespace nwc {

inline constexpr uint64_t kMaxMetadataFile = 256ull << 20;  // bytes

// By its name alone: one of these files.
bool IsMetadataFile(const std::string& name);

// All of them in `folder`, sorted by name; see Checkpoint::ReadFiles. Errors begin with the path.
Result<std::vector<SourceFile>> ReadMetadataFiles(const std::string& folder);

}  // namespace nwc
