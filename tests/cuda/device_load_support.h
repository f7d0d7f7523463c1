// Loads onto devices and back, for tests.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cuda/device_loader.h"

namespace nwc {

inline std::string GoldenPath(const char* folder, const std::string& name) {
  return std::filesystem::path(GOLDEN_FOLDER) / folder / name;
}

inline std::unique_ptr<ModelLoader> OpenModelAt(const std::string& path) {
  auto model = ModelLoader::Open(path, {});
  EXPECT_TRUE(model.ok()) << model.status().ToString();
  return model.ok() ? std::move(*model) : nullptr;
}

// All tensors that this build knows.
inline std::vector<TensorRequest> Everything(const ModelLoader& model) {
  std::vector<TensorRequest> requests;
  for (const size_t number : model.All()) {
    if (model.tensor(number).supported()) requests.push_back({number});
  }
  return requests;
}

// What the host's loader gives.
inline std::vector<uint8_t> Expected(const ModelLoader& model, const TensorRequest& request) {
  const auto tensor = model.Load(request.number, request.slice);
  EXPECT_TRUE(tensor.ok()) << tensor.status().ToString();
  return {tensor->bytes.span().begin(), tensor->bytes.span().end()};
}

inline Status ToHost(DeviceRuntime* runtime, const DeviceTensor& tensor,
                     std::vector<uint8_t>* out) {
  out->resize(tensor.slice.weights() * DTypeSize(tensor.info.dtype));
  if (out->empty()) return {};
  NWC_ASSIGN_OR_RETURN(const OwnedStream stream, OwnedStream::Create(runtime));
  NWC_ASSIGN_OR_RETURN(const OwnedEvent event, OwnedEvent::Create(runtime));
  NWC_RETURN_IF_ERROR(runtime->CopyToHost(out->data(), tensor.bytes, out->size(), stream.get()));
  NWC_RETURN_IF_ERROR(runtime->Record(event.get(), stream.get()));
  return runtime->Synchronize(event.get());
}

inline Status LoadOnDevice(DeviceRuntime* runtime, const ModelLoader& model,
                           const DeviceLoadOptions& options,
                           const std::vector<TensorRequest>& requests,
                           std::vector<std::vector<uint8_t>>* tensors = nullptr,
                           DeviceLoadStatistics* statistics = nullptr,
                           const std::atomic<bool>* cancel = nullptr) {
  NWC_ASSIGN_OR_RETURN(const auto device, DeviceLoader::Create(runtime, &model, options));
  return device->Stream(
      requests,
      [&](const DeviceTensor& tensor) -> Status {
        std::vector<uint8_t> bytes;
        NWC_RETURN_IF_ERROR(ToHost(runtime, tensor, &bytes));
        if (tensors != nullptr) tensors->push_back(std::move(bytes));
        return {};
      },
      statistics, cancel);
}

}  // namespace nwc
