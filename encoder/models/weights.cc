#include "encoder/models/weights.h"

#include <algorithm>

#include "format/dtype.h"

namespace nwc {
namespace {

template <typename Dimensions>
std::string ShapeText(const Dimensions& shape) {
  std::string text = "[";
  for (const auto size : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(size);
  return text + "]";
}

Status CheckTensor(const SourceTensor& tensor, const WantedTensor& wanted) {
  const bool same =
      std::equal(tensor.shape.begin(), tensor.shape.end(), wanted.shape.begin(), wanted.shape.end(),
                 [](uint64_t has, int64_t wants) { return has == static_cast<uint64_t>(wants); });
  if (!same) {
    return Status(ErrorCode::kUsage, "tensor " + wanted.name + ": shape " +
                                         ShapeText(tensor.shape) + ", but config.json says " +
                                         ShapeText(wanted.shape));
  }
  if (!IsCodedFloat(tensor.dtype)) {
    return Status(ErrorCode::kUsage, "tensor " + wanted.name + ": dtype " +
                                         DTypeName(tensor.dtype) + ", expected F32, F16 or BF16");
  }
  return {};
}

}  // namespace

Weights::Weights(const TensorSource& source) : source_(source) {
  for (size_t i = 0; i < source.tensors().size(); ++i) number_of_[source.tensors()[i].name] = i;
}

Result<torch::Tensor> Weights::Read(const WantedTensor& wanted) const {
  const auto found = number_of_.find(wanted.name);
  if (found == number_of_.end()) {
    return Status(ErrorCode::kNotFound,
                  "tensor " + wanted.name +
                      ": not there, but config.json asks for it; both must be of one model");
  }
  const SourceTensor& tensor = source_.tensors()[found->second];
  NWC_RETURN_IF_ERROR(CheckTensor(tensor, wanted));
  torch::Tensor values = torch::empty(wanted.shape, torch::kFloat32);
  const size_t count = static_cast<size_t>(values.numel());
  auto* floats = values.data_ptr<float>();
  if (tensor.dtype == DType::kF32) {
    auto* bytes = reinterpret_cast<uint8_t*>(floats);
    NWC_RETURN_IF_ERROR(source_.Read(found->second, {bytes, count * sizeof(float)}));
    return values;
  }
  std::vector<uint8_t> bytes(count * DTypeSize(tensor.dtype));
  NWC_RETURN_IF_ERROR(source_.Read(found->second, bytes));
  ToFloat(tensor.dtype, bytes.data(), count, floats);
  return values;
}

Result<TensorMap> Weights::ReadAll(const std::vector<WantedTensor>& wanted) const {
  TensorMap tensors;
  for (const WantedTensor& tensor : wanted) {
    NWC_ASSIGN_OR_RETURN(tensors[tensor.name], Read(tensor));
  }
  return tensors;
}

}  // namespace nwc
