// The models of tests/data/models, which tests/models/make_references.py wrote, and copies of them
// that tests may spoil.
#pragma once

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "encoder/models/model.h"
#include "encoder/token_windows.h"
#include "tests/encoder/memory_checkpoint.h"
#include "tools/checkpoint.h"

namespace nwc {

inline std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::unique_ptr<Checkpoint> OpenCheckpoint(const std::string& path) {
  auto checkpoint = Checkpoint::Open(path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  return std::move(*checkpoint);
}

// A tensor of type I64 or F32 as it is in the file.
inline torch::Tensor ReadTensor(const TensorSource& source, const std::string& name) {
  for (size_t i = 0; i < source.tensors().size(); ++i) {
    const SourceTensor& tensor = source.tensors()[i];
    if (tensor.name != name) continue;
    const std::vector<int64_t> shape(tensor.shape.begin(), tensor.shape.end());
    torch::Tensor out =
        torch::empty(shape, tensor.dtype == DType::kI64 ? torch::kInt64 : torch::kFloat32);
    EXPECT_TRUE(source.Read(i, {static_cast<uint8_t*>(out.data_ptr()), out.nbytes()}).ok());
    return out;
  }
  return {};
}

struct ReferenceModel {
  std::string config;
  std::unique_ptr<Checkpoint> weights, expected;
  std::unique_ptr<Model> model;

  explicit ReferenceModel(const std::string& folder) {
    config = ReadText(folder + "/config.json");
    weights = OpenCheckpoint(folder + "/model.safetensors");
    expected = OpenCheckpoint(folder + "/expected.safetensors");
    auto opened = OpenModel(config, *weights);
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    model = std::move(*opened);
  }
  static ReferenceModel Named(const std::string& name) {
    return ReferenceModel(std::string(NWC_REFERENCE_MODELS) + "/" + name);
  }
  [[nodiscard]] torch::Tensor ids() const { return ReadTensor(*expected, "input_ids"); }
};

// The whole forward pass.
inline torch::Tensor RunWhole(const Model& model, const torch::Tensor& ids) {
  torch::Tensor hidden = model.Embed(ids);
  for (int i = 0; i < model.layer_count(); ++i) {
    const auto layer = model.LoadLayer(i);
    EXPECT_TRUE(layer.ok()) << layer.status().ToString();
    hidden = (*layer)->Forward(hidden, {});
  }
  return model.Head(hidden);
}

// A copy in memory; `change` may edit each tensor's name, values and shape before it is added, and
// leaves the tensor out by returning false.
using TensorChange = std::function<bool(SourceTensor*, std::vector<float>*)>;
inline std::unique_ptr<MemoryCheckpoint> Changed(const TensorSource& source,
                                                 const TensorChange& change) {
  auto copy = std::make_unique<MemoryCheckpoint>();
  for (size_t i = 0; i < source.tensors().size(); ++i) {
    SourceTensor tensor = source.tensors()[i];
    size_t count = 1;
    for (const uint64_t size : tensor.shape) count *= size;
    std::vector<uint8_t> bytes(count * DTypeSize(tensor.dtype));
    EXPECT_TRUE(source.Read(i, bytes).ok());
    std::vector<float> values(count);
    ToFloat(tensor.dtype, bytes.data(), count, values.data());
    tensor.dtype = DType::kF32;
    if (!change(&tensor, &values)) continue;
    bytes.resize(count * DTypeSize(tensor.dtype));
    if (tensor.dtype == DType::kF32) {
      FromFloat(tensor.dtype, values.data(), count, bytes.data());
    }
    copy->Add(tensor.name, tensor.dtype, tensor.shape, bytes);
  }
  return copy;
}

inline TokenWindows WindowsOf(const torch::Tensor& ids) {
  TokenWindows windows{static_cast<size_t>(ids.size(0)), static_cast<size_t>(ids.size(1)), {}, {}};
  const auto* values = ids.data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) windows.ids.push_back(static_cast<int32_t>(values[i]));
  return windows;
}

}  // namespace nwc
