// Tensors of a packed model, decoded into a .safetensors file.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "loader/model_loader.h"

namespace nwc {

struct TensorExport {
  const ModelLoader* model = nullptr;
  std::vector<size_t> numbers;  // of tensors, ascending, each once
  std::string metadata;         // __metadata__ of the file, or empty
  std::string path;             // of the file, which appears whole or not at all
  bool overwrite = false;
  std::function<void(const Tensor&)> progress;  // after each tensor; may be empty
};

struct ExportCounts {
  uint64_t bytes_written = 0;  // of the file
  uint64_t bytes_read = 0;     // of the containers, without their index
  uint64_t reads = 0;
};

// Tensors lie in the file in the order of the container. Streams: memory is that of the loader.
// Ends soon after StopRequested(). `counts` is added to.
Status ExportTensors(const TensorExport& job, ExportCounts* counts);

}  // namespace nwc
