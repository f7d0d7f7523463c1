// Which files of a folder hold the weights of its checkpoint.
#pragma once

#include <map>
#include <set>
#include <string>

#include "format/status.h"

namespace nwc {

struct CheckpointFiles {
  std::set<std::string> names;
  std::string index;                           // name of the file that lists the tensors, or empty
  std::map<std::string, std::string> file_of;  // by tensor, as the index says
  std::string note;                            // for people: what else is there and is not read
};

// The first that is there of: safetensors, PyTorch, GGUF; of each an index and what it names, the
// usual single file, or the only file of that ending; GGUF also in parts (-00001-of-00002.gguf).
// The error says what was expected and what to do. Files that an index names may be missing.
Result<CheckpointFiles> FindCheckpointFiles(const std::string& folder);

}  // namespace nwc
