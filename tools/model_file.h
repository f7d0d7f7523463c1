// Weights on disk, packed or not: a container or a set of them (here or on a web server), a
// .safetensors file or a folder of them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loader/model_loader.h"
#include "tools/checkpoint.h"

namespace nwc {

struct ModelTensor {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  std::optional<bool> linear;  // what a container says; nothing for other files

  [[nodiscard]] uint64_t weights() const;
  [[nodiscard]] uint64_t bytes() const { return weights() * DTypeSize(dtype); }
};

class ModelFile {
 public:
  // A missing path is kIo.
  static Result<std::unique_ptr<ModelFile>> Open(const std::string& path,
                                                 const LoadOptions& options);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const std::vector<ModelTensor>& tensors() const { return tensors_; }
  // Decoded, row-major, little-endian.
  Result<AlignedBuffer> Read(size_t tensor) const;

 private:
  ModelFile() = default;

  std::string path_;
  std::vector<ModelTensor> tensors_;
  std::unique_ptr<ModelLoader> packed_;  // one of the two is set
  std::unique_ptr<Checkpoint> checkpoint_;
};

}  // namespace nwc
