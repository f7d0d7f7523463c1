// A Hugging Face checkpoint on disk: a folder (config.json, model.safetensors or sharded with
// model.safetensors.index.json, tokenizer files) or one .safetensors file. Reads tensors one by one
// with pread, so a checkpoint may be larger than memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "encoder/tensor_source.h"
#include "format/status.h"
#include "tools/safetensors.h"

namespace nwc {

class Checkpoint : public TensorSource {
 public:
  // The error says which file, what was expected and what to do (a folder with only
  // pytorch_model.bin gets told how to convert; a missing shard is named).
  static Result<std::unique_ptr<Checkpoint>> Open(const std::string& path);
  ~Checkpoint() override;

  // Sorted by shard, then by position in it. Names are unique.
  [[nodiscard]] const std::vector<SourceTensor>& tensors() const override;
  // Sorted by name, which is the file's.
  [[nodiscard]] const std::vector<ShardInfo>& shards() const override;
  Status Read(size_t tensor, MutableByteSpan destination) const override;

  // Metadata files to travel inside the container: every regular file of the folder's top level
  // with ending .json, .txt, .model, .jinja, .md, .py or named like tokenizer/LICENSE/NOTICE files;
  // not weights. Symbolic links are followed. Sorted by name. Empty for a single .safetensors file.
  // A file above 256 MiB is an error.
  Result<std::vector<SourceFile>> ReadFiles() const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
