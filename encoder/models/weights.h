// Tensors of a checkpoint as float32 LibTorch tensors.
#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "encoder/tensor_source.h"
#include "format/status.h"

namespace nwc {

struct WantedTensor {
  std::string name;
  std::vector<int64_t> shape;
};

using TensorMap = std::map<std::string, torch::Tensor>;

// Finds tensors by name. Keeps a reference to the source, which must outlive it.
class Weights {
 public:
  explicit Weights(const TensorSource& source);

  [[nodiscard]] bool Has(const std::string& name) const { return number_of_.contains(name); }
  // F32, F16 or BF16 to float32, on the CPU. kNotFound, or kUsage for another shape or dtype; both
  // name the tensor.
  [[nodiscard]] Result<torch::Tensor> Read(const WantedTensor& wanted) const;
  [[nodiscard]] Result<TensorMap> ReadAll(const std::vector<WantedTensor>& wanted) const;

 private:
  const TensorSource& source_;
  std::unordered_map<std::string, size_t> number_of_;
};

}  // namespace nwc
