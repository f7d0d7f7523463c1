// A checkpoint on disk: a Hugging Face folder (config.json, weights, tokenizer files) or one file
// of weights; in safetensors, of PyTorch (torch.save) or in GGUF without quantisation. Reads
// tensors one by one with pread, so a checkpoint may be larger than memory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "encoder/tensor_source.h"
#include "format/status.h"

namespace nwc {

class Checkpoint : public TensorSource {
 public:
  // What of a folder is read: FindCheckpointFiles (tools/checkpoint_files.h); safetensors where it
  // is there. The error says which file, what was expected and what to do.
  static Result<std::unique_ptr<Checkpoint>> Open(const std::string& path);
  ~Checkpoint() override;

  // Sorted by shard, then by position in it. Names are unique.
  [[nodiscard]] const std::vector<SourceTensor>& tensors() const override;
  // In the order of their files' names; see WeightsFile::shard (tools/weights_file.h).
  [[nodiscard]] const std::vector<ShardInfo>& shards() const override;
  // For people: what else the folder holds and is not read; or empty.
  [[nodiscard]] const std::string& note() const;
  // A tensor of PyTorch that is not row-major takes its extent in its storage of memory meanwhile.
  Status Read(size_t tensor, MutableByteSpan destination) const override;

  // Metadata files to travel inside the container: every regular file of the folder's top level
  // with ending .json, .txt, .model, .jinja, .md, .py or named like tokenizer/LICENSE/NOTICE files;
  // not weights. Symbolic links are followed. Sorted by name. A file above 256 MiB is an error.
  // Weights in several files that are not safetensors get model.safetensors.index.json in place of
  // their index; GGUF files add what is no tensor in them (kGgufHeaderEnding). Nothing else for a
  // single file.
  Result<std::vector<SourceFile>> ReadFiles() const;

 private:
  struct Impl;
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
