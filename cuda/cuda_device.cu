// The GPU itself behind DeviceRuntime.
#include <cuda_runtime_api.h>

#include <string>
#include <utility>

#include "cuda/decode.cuh"
#include "cuda/device_runtime.h"

namespace nwc {
namespace {

constexpr int kOldestMajor = 8;  // compute capability that there is code for
constexpr const char* kNeeded =
    "; a GPU of compute capability 8.0 or later is needed, and its driver";

Status Refused(const std::string& who, const char* what, cudaError_t error) {
  const ErrorCode code =
      error == cudaErrorMemoryAllocation ? ErrorCode::kOutOfMemory : ErrorCode::kIo;
  return Status(code, who + ": " + what + ": " + cudaGetErrorString(error));
}

class CudaDevice : public DeviceRuntime {
 public:
  CudaDevice(int number, std::string name, size_t max_shared_bytes)
      : number_(number), name_(std::move(name)), max_shared_bytes_(max_shared_bytes) {}
  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] size_t max_shared_bytes() const override { return max_shared_bytes_; }
  Status MakeCurrent() override {
    return Do("device", [] { return cudaSuccess; });
  }

  Result<DeviceAddress> Allocate(size_t size_bytes) override {
    void* memory = nullptr;
    NWC_RETURN_IF_ERROR(Do("device memory", [&] { return cudaMalloc(&memory, size_bytes); }));
    return DeviceAddress{static_cast<uint8_t*>(memory)};
  }
  void Free(DeviceAddress address) override {
    (void)Do("free", [&] { return cudaFree(address.value); });
  }
  Result<uint8_t*> AllocatePinned(size_t size_bytes) override {
    void* memory = nullptr;
    NWC_RETURN_IF_ERROR(Do("pinned memory", [&] {
      return cudaHostAlloc(&memory, size_bytes, cudaHostAllocPortable);
    }));
    return static_cast<uint8_t*>(memory);
  }
  void FreePinned(uint8_t* memory) override {
    (void)Do("free", [&] { return cudaFreeHost(memory); });
  }

  Result<DeviceStream> CreateStream() override {
    cudaStream_t stream = nullptr;
    NWC_RETURN_IF_ERROR(
        Do("stream", [&] { return cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking); }));
    return DeviceStream{stream};
  }
  void DestroyStream(DeviceStream stream) override {
    (void)Do("stream", [&] { return cudaStreamDestroy(Stream(stream)); });
  }
  Result<DeviceEvent> CreateEvent() override {
    cudaEvent_t event = nullptr;
    NWC_RETURN_IF_ERROR(
        Do("event", [&] { return cudaEventCreateWithFlags(&event, cudaEventDisableTiming); }));
    return DeviceEvent{event};
  }
  void DestroyEvent(DeviceEvent event) override {
    (void)Do("event", [&] { return cudaEventDestroy(Event(event)); });
  }

  Status Record(DeviceEvent event, DeviceStream stream) override {
    return Do("event", [&] { return cudaEventRecord(Event(event), Stream(stream)); });
  }
  Status MakeWait(DeviceStream stream, DeviceEvent event) override {
    return Do("event", [&] { return cudaStreamWaitEvent(Stream(stream), Event(event), 0); });
  }
  Result<bool> IsDone(DeviceEvent event) override {
    bool done = true;
    NWC_RETURN_IF_ERROR(Do("event", [&] {
      const cudaError_t error = cudaEventQuery(Event(event));
      done = error != cudaErrorNotReady;
      return done ? error : cudaSuccess;
    }));
    return done;
  }
  Status Synchronize(DeviceEvent event) override {
    return Do("work on the device", [&] { return cudaEventSynchronize(Event(event)); });
  }

  Status CopyToDevice(DeviceAddress target, const void* source, size_t size_bytes,
                      DeviceStream stream) override {
    return Do("copy to the device", [&] {
      return cudaMemcpyAsync(target.value, source, size_bytes, cudaMemcpyHostToDevice,
                             Stream(stream));
    });
  }
  Status CopyToHost(void* target, DeviceAddress source, size_t size_bytes,
                    DeviceStream stream) override {
    return Do("copy from the device", [&] {
      return cudaMemcpyAsync(target, source.value, size_bytes, cudaMemcpyDeviceToHost,
                             Stream(stream));
    });
  }
  Status CopyRows(const RowCopy& copy, DeviceStream stream) override {
    if (copy.row_bytes == 0 || copy.rows == 0) return {};
    return Do("copy on the device", [&] {
      const bool packed =
          copy.target_stride_bytes == copy.row_bytes && copy.source_stride_bytes == copy.row_bytes;
      if (packed) {  // rows of any number and length
        return cudaMemcpyAsync(copy.target.value, copy.source.value, copy.row_bytes * copy.rows,
                               cudaMemcpyDeviceToDevice, Stream(stream));
      }
      return cudaMemcpy2DAsync(copy.target.value, copy.target_stride_bytes, copy.source.value,
                               copy.source_stride_bytes, copy.row_bytes, copy.rows,
                               cudaMemcpyDeviceToDevice, Stream(stream));
    });
  }
  Status Launch(const DecodeLaunch& launch, DeviceStream stream) override {
    return Do("decoding", [&] { return LaunchDecode(launch, Stream(stream)); });
  }

 private:
  static cudaStream_t Stream(DeviceStream stream) { return static_cast<cudaStream_t>(stream); }
  static cudaEvent_t Event(DeviceEvent event) { return static_cast<cudaEvent_t>(event); }

  // A thread's current device is its own.
  template <typename Call>
  Status Do(const char* what, const Call& call) const {
    cudaError_t error = cudaSetDevice(number_);
    if (error == cudaSuccess) error = call();
    return error == cudaSuccess ? Status() : Refused(name_, what, error);
  }

  const int number_;
  const std::string name_;
  const size_t max_shared_bytes_;
};

}  // namespace

Result<std::unique_ptr<DeviceRuntime>> OpenCudaDevice(int number) {
  int count = 0;  // left as it is when there is no driver
  const cudaError_t error = cudaGetDeviceCount(&count);
  if (error != cudaSuccess) {
    return Status(ErrorCode::kUnsupported,
                  std::string("no CUDA device to use: ") + cudaGetErrorString(error) + kNeeded);
  }
  if (number < 0 || number >= count) {
    return Status(ErrorCode::kUnsupported, "no CUDA device of number " + std::to_string(number) +
                                               ": " + std::to_string(count) + " are here" +
                                               kNeeded);
  }
  cudaDeviceProp properties{};
  if (const cudaError_t refused = cudaGetDeviceProperties(&properties, number);
      refused != cudaSuccess) {
    return Status(ErrorCode::kUnsupported,
                  std::string("GPU refused: ") + cudaGetErrorString(refused));
  }
  std::string name = "GPU " + std::to_string(number) + " (" + properties.name + ")";
  if (properties.major < kOldestMajor) {
    return Status(ErrorCode::kUnsupported, name + " is of compute capability " +
                                               std::to_string(properties.major) + "." +
                                               std::to_string(properties.minor) + kNeeded);
  }
  return std::unique_ptr<DeviceRuntime>(
      new CudaDevice(number, std::move(name), properties.sharedMemPerBlockOptin));
}

}  // namespace nwc
