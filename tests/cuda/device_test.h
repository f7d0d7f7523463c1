// Tests that run on the emulator and, where there is one, on the GPU.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "cuda/decode_batch.h"
#include "cuda/device_codec.h"
#include "cuda/device_memory.h"
#include "tests/cuda/host_device.h"

namespace nwc {

enum class DeviceKind : uint8_t { kEmulator, kGpu };

inline std::string DeviceKindName(const testing::TestParamInfo<DeviceKind>& info) {
  return info.param == DeviceKind::kEmulator ? "Emulator" : "Gpu";
}

// One chunk of a tensor and where its slice goes.
struct ChunkOnDevice {
  const DeviceTensorDecoder* decoder;
  size_t number;
  ByteSpan bytes;
};

class DeviceTest : public testing::TestWithParam<DeviceKind> {
 protected:
  void SetUp() override {
    if (GetParam() == DeviceKind::kEmulator) {
      runtime_ = std::make_unique<HostDevice>();
      return;
    }
    auto device = OpenCudaDevice();
    if (!device.ok()) GTEST_SKIP() << device.status().message();
    runtime_ = std::move(*device);
  }

  DeviceRuntime* runtime() { return runtime_.get(); }

  // Its facts stay on the device until the test ends.
  Result<std::unique_ptr<DeviceTensorDecoder>> MakeDecoder(const TensorInfo& tensor, ByteSpan side,
                                                           DeviceCodec codec);

  // Decodes chunks of one tensor into a buffer of the slice, each byte of which was 0x55.
  Status Decode(std::span<const ChunkOnDevice> chunks, const TensorSlice& slice,
                std::vector<uint8_t>* out,
                NeuralArithmetic arithmetic = NeuralArithmetic::kSpecified);

 private:
  std::unique_ptr<DeviceRuntime> runtime_;
  std::vector<DeviceBuffer> facts_;
  bool wide_window_ = false;
};

#define NWC_ON_EVERY_DEVICE(suite) \
  INSTANTIATE_TEST_SUITE_P(        \
      Devices, suite, testing::Values(DeviceKind::kEmulator, DeviceKind::kGpu), DeviceKindName)

}  // namespace nwc
