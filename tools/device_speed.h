// How fast a model comes to a GPU, stage by stage and altogether.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cuda/decoder.h"
#include "tools/bench_decode.h"

namespace nwc {

struct DeviceDecodeSpeed {
  Profile profile = Profile::kRaw;
  bool tensor_cores = false;  // nwc: the net with BF16 factors
  Speed speed;
};

// Stages are measured by themselves, on a sample of at most 512 MiB of decoded tensors a profile;
// the load is of all tensors.
struct DeviceSpeeds {
  std::string device;
  uint64_t tensors = 0;  // whose decoded hashes were found right
  Speed read;            // from the file, in the way the loader reads
  Speed hash;            // of chunks, on one core of the host
  Speed copy;            // pinned memory to the device, in pieces as large as reads
  Speed ceiling;         // the same in one piece of 64 MiB: what the bus can do
  std::vector<DeviceDecodeSpeed> decode;  // kernels alone, the sample on the device
  Speed load;                             // file to decoded tensors
  std::string io;                         // how the file was read
};

struct DeviceBenchOptions {
  int runs = 5;
  // Kernels are measured on the sample repeated in memory of its own until it decodes to this,
  // or 64 times: it should be many times what the device decodes at once and its caches hold.
  uint64_t decoded_bytes = 2ull << 30;
};

// Each speed is the median of `runs`. Before a stage `begin` is called with its name and number; an
// error of it ends the measurement. kCorrupt (R29) when a tensor decodes to other bytes than the
// file says.
Result<DeviceSpeeds> MeasureDevice(
    DeviceRuntime* device, const ModelLoader& model, const DeviceBenchOptions& options,
    const std::function<Status(const char* what, uint64_t step)>& begin);
inline constexpr uint64_t kDeviceSteps = 7;

}  // namespace nwc
