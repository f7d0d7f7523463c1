// A packed model as GGUF files.
#pragma once

#include <functional>
#include <string>

#include "loader/model_loader.h"
#include "tools/tensor_export.h"

namespace nwc {

struct GgufExport {
  const ModelLoader* model = nullptr;
  std::string folder;                           // to write into; it exists
  std::function<void(const Tensor&)> progress;  // after each tensor; may be empty
};

// A model that was packed from GGUF gets the files it had, with their metadata; kUsage where not
// all of their tensors are in the container. Another gets one file with the names its tensors have
// and next to no metadata: kUnsupported for tensors that GGUF cannot hold. Returns the number of
// files. Streams: memory is that of the loader. `counts` is added to.
Result<size_t> ExportGguf(const GgufExport& job, ExportCounts* counts);

// Whether a metadata file of the container is of no use beside GGUF files: it is part of them, or
// lists .safetensors files.
bool IsReplacedByGguf(const std::string& file_name);

}  // namespace nwc
