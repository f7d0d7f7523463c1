// From a container into the memory of a GPU: chunks are read into pinned memory, checked, copied as
// they are and decoded there, all at the same time.
//
//   NWC_ASSIGN_OR_RETURN(auto device, OpenCudaDevice());
//   NWC_ASSIGN_OR_RETURN(auto loader, Loader::Open("model.nwc", {}));
//   NWC_ASSIGN_OR_RETURN(auto weights, DeviceLoader::Create(device.get(), loader.get(), {}));
//   NWC_RETURN_IF_ERROR(weights->Stream(requests, [](DeviceTensor tensor) { … }));
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>

#include "cuda/decode_batch.h"
#include "cuda/device_memory.h"
#include "cuda/device_runtime.h"
#include "loader/loader.h"

namespace nwc {

// A decoded tensor, or a slice of it, in device memory.
struct DeviceTensor {
  TensorInfo info;      // a copy; its chunk list is left empty
  size_t number = 0;    // position in the index
  TensorSlice slice;    // which part is there, without kEnd
  DeviceAddress bytes;  // row-major, little-endian; null when the slice is empty
  DeviceBuffer owned;   // holds `bytes`, unless the caller's allocator gave them
};

struct DeviceLoadOptions {
  IoMode io = IoMode::kAuto;
  // Compressed bytes between file and decoded tensor: so much pinned memory on the host, and as
  // much on the device. At least the largest chunk wanted and what describes it (else kUsage).
  size_t staging_bytes = 64 << 20;
  bool verify = true;  // check every chunk's hash (R20) on the host before it is copied
  NeuralArithmetic arithmetic = NeuralArithmetic::kSpecified;
  // Gives size_bytes of device memory at a multiple of 16 for the slice; it stays the caller's. Not
  // called for empty slices. Left out: Stream allocates.
  std::function<Result<DeviceAddress>(const TensorInfo&, const TensorSlice&, size_t size_bytes)>
      allocate = nullptr;
  // The caller's stream. Memory from `allocate` is not written before what was enqueued on it by
  // then is done.
  DeviceStream stream = nullptr;
};

// What a load did, for reports.
struct DeviceLoadStatistics {
  uint64_t bytes_read = 0;     // from the file, with codecs that this call was the first to need
  uint64_t bytes_copied = 0;   // to the device
  uint64_t bytes_decoded = 0;  // there
  uint64_t batches = 0;        // reads, each with its copy and its launches
  size_t peak_staging_bytes = 0;
  size_t peak_batches = 0;  // between read and decoded
  bool used_uring = false;
  double seconds = 0;
};

// Its Stream may be called by one thread at a time.
class DeviceLoader {
 public:
  // All three outlive it; `loader` is over a container, not in a cache.
  static Result<std::unique_ptr<DeviceLoader>> Create(DeviceRuntime* runtime, const Loader* loader,
                                                      DeviceLoadOptions options);
  ~DeviceLoader();
  DeviceLoader(const DeviceLoader&) = delete;
  DeviceLoader& operator=(const DeviceLoader&) = delete;

  // Loads what `requests` ask for (each tensor at most once) and calls `ready` with each tensor in
  // their order, on the calling thread, once it is decoded and found to be whole: any stream may
  // use it. Errors, the end by a callback's error and *cancel are as in Loader::Stream. Decoded
  // hashes are not checked. Until Stream returns, 8 bytes a row and column of each stream tensor
  // stay on the device besides the staging memory and, for nwc, the latents of two reads.
  Status Stream(std::span<const TensorRequest> requests,
                const std::function<Status(DeviceTensor)>& ready,
                DeviceLoadStatistics* statistics = nullptr,
                const std::atomic<bool>* cancel = nullptr);

 private:
  struct Impl;
  explicit DeviceLoader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
