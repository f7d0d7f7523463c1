// One file of weights of any format that nwc-pack reads: safetensors, PyTorch (torch.save), GGUF.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "encoder/tensor_source.h"
#include "format/status.h"
#include "tools/input_file.h"
#include "tools/stored_tensor.h"

namespace nwc {

struct WeightsFile {
  InputFile file;
  // Its name and metadata in a container. Files of other formats are called what they would be
  // called after conversion to safetensors: model-00001-of-00002.safetensors for
  // pytorch_model-00001-of-00002.bin.
  ShardInfo shard;
  std::vector<StoredTensor> tensors;  // in file order
  bool gguf = false;
};

// Looks at the content first: names may be those of a cache. The error begins with the path, and
// says how to convert what is PyTorch's old format.
Result<WeightsFile> OpenWeightsFile(const std::string& path);

// The stem of shard.name: of "model.safetensors" it is "model".
std::string ShardStem(const std::string& shard_name);

// The file that keeps what is no tensor of a GGUF file, for `nwc unpack --format gguf`.
Result<SourceFile> ReadGgufHeaderFile(const WeightsFile& weights);

}  // namespace nwc
