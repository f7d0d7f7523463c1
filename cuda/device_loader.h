// From a model, in one container or a set of them, into the memory of a GPU: chunks are read into
// pinned memory, checked, copied as they are and decoded there, all at the same time.
//
//   NWC_ASSIGN_OR_RETURN(auto device, OpenCudaDevice());
//   NWC_ASSIGN_OR_RETURN(auto model, ModelLoader::Open("model.nwc", {}));
//   NWC_ASSIGN_OR_RETURN(auto weights, DeviceLoader::Create(device.get(), model.get(), {}));
//   NWC_RETURN_IF_ERROR(weights->Stream(requests, [](DeviceTensor tensor) { … }));
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>

#include "cuda/broadcast.h"
#include "cuda/decode_batch.h"
#include "cuda/device_memory.h"
#include "cuda/device_runtime.h"
#include "loader/model_loader.h"

namespace nwc {

// A decoded tensor, or a slice of it, in device memory.
struct DeviceTensor {
  TensorInfo info;      // a copy; its chunk list is left empty
  size_t number = 0;    // in the model
  TensorSlice slice;    // which part is there, without kEnd
  DeviceAddress bytes;  // row-major, little-endian; null when the slice is empty
  DeviceBuffer owned;   // holds `bytes`, unless the caller's allocator gave them
};

// Files are read in the way in which the model was opened, through its cache where it has one.
struct DeviceLoadOptions {
  // Staging memory for all shards: so much pinned memory on the host, for compressed bytes and,
  // with verify_decoded, what comes back; and as much on the device, for compressed bytes and the
  // latents of nwc. The host keeps as much again, at most, of side information that waits for its
  // tensor. At least what the largest chunk wanted needs (else kUsage, which says how
  // much).
  size_t staging_bytes = 64 << 20;
  bool verify = true;  // check every chunk's hash (R20) on the host before it is copied
  // Check whole tensors' decoded hash, too (R29); slices have none. All decoded bytes come back
  // over the bus and are hashed by the calling thread, which does nothing else meanwhile: a check
  // of everything takes the time of that copy, or of the hash at 16 GB/s or so, on top of the load.
  bool verify_decoded = false;
  NeuralArithmetic arithmetic = NeuralArithmetic::kSpecified;
  // Gives size_bytes of device memory at a multiple of 16 for the slice; it stays the caller's. Not
  // called for empty slices. Left out: Stream allocates.
  std::function<Result<DeviceAddress>(const TensorInfo&, const TensorSlice&, size_t size_bytes)>
      allocate = nullptr;
  // The caller's stream. Memory from `allocate` is not written before what was enqueued on it by
  // then is done.
  DeviceStream stream = nullptr;
  // Where several processes load the same model at once, or null. Rank 0 reads, checks hashes and
  // sends compressed bytes; every rank decodes. Outlives the loader; a Stream that failed ends it.
  Broadcaster* ranks = nullptr;
};

// What a load did, for reports.
struct DeviceLoadStatistics {
  uint64_t bytes_read = 0;    // from files, with neural codecs that this call was the first to need
  uint64_t bytes_copied = 0;  // to the device
  uint64_t bytes_decoded = 0;     // there
  uint64_t batches = 0;           // reads, each with its copy and its launches
  size_t peak_staging_bytes = 0;  // compressed bytes, and at most so many
  size_t peak_latent_bytes = 0;   // on the device besides them
  size_t peak_batches = 0;        // between read and decoded
  bool used_uring = false;
  size_t reading_threads = 0;  // that read instead, and check hashes
  double seconds = 0;
};

// Its Stream may be called by one thread at a time.
class DeviceLoader {
 public:
  // All three outlive it. A container that is open already: ModelLoader::Join.
  static Result<std::unique_ptr<DeviceLoader>> Create(DeviceRuntime* runtime,
                                                      const ModelLoader* model,
                                                      DeviceLoadOptions options);
  ~DeviceLoader();
  DeviceLoader(const DeviceLoader&) = delete;
  DeviceLoader& operator=(const DeviceLoader&) = delete;

  // Loads what `requests` ask for (each tensor at most once) and calls `ready` with each tensor in
  // their order, on the calling thread, once it is decoded and found to be whole: any stream may
  // use it. Errors, the end by a callback's error and *cancel are as in ModelLoader::Stream; a net
  // that is too wide for the device is kUnsupported, before anything is read. Until Stream returns,
  // 8 bytes a row and column of each stream tensor, and 5 a column of each nwc tensor (rounded up
  // to 16 a tensor), stay on the device besides the staging memory. What was pinned of that stays
  // until the loader goes.
  //
  // With ranks, every rank calls it for the same tensors of the same files in the same order.
  // Slices may differ (loader/tensor_parallel.h): whole tensors are sent, and decoded as far as
  // they are wanted. Reads are as large as staging_bytes of rank 0 suggests. An error of one rank
  // ends the call on all of them, with that error; *cancel is looked at between reads. `ready` must
  // not wait for another rank. Each rank opens the model itself, and reads index and neural codecs.
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
