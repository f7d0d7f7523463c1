// A file of torch.save: a zip file with data.pkl, the pickle, and data/0 and so on, the storages.
#pragma once

#include <vector>

#include "format/status.h"
#include "tools/read_at.h"
#include "tools/stored_tensor.h"

namespace nwc {

// The tensors of the dict in it, in its order. They are not read.
Result<std::vector<StoredTensor>> ReadPyTorchFile(const ReadAt& read, uint64_t file_size);

// How to make safetensors of a file that this reader refuses; a sentence without a dot.
inline constexpr const char* kConvertPyTorch =
    "convert it once in Python: safetensors.torch.save_file({k: v.contiguous().clone() for k, v in "
    "torch.load(FILE, map_location='cpu', weights_only=True).items()}, 'model.safetensors')";

}  // namespace nwc
