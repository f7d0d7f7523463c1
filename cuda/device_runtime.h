// What the project asks of a GPU: memory, streams, events, copies and the decode kernels.
// OpenCudaDevice gives the real one, the tests run a device that lives in the host's memory. No
// CUDA headers.
//
// Streams and events are CUDA's own (cudaStream_t and cudaEvent_t), so that a caller's can be
// given. Work on a stream happens in its order and later than the call; every function may be
// called from any thread. A failed launch or copy is kIo and names CUDA's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "cuda/launch.h"
#include "format/status.h"

namespace nwc {

using DeviceStream = void*;  // null: CUDA's default stream
using DeviceEvent = void*;

// Memory of the device, never to be read by the host.
struct DeviceAddress {
  uint8_t* value = nullptr;
  [[nodiscard]] DeviceAddress operator+(uint64_t offset) const { return {value + offset}; }
};

// Copies of rows that do not follow each other.
struct RowCopy {
  DeviceAddress target, source;
  uint64_t target_stride_bytes = 0, source_stride_bytes = 0;
  uint64_t row_bytes = 0, rows = 0;
};

class DeviceRuntime {
 public:
  virtual ~DeviceRuntime() = default;
  [[nodiscard]] virtual const std::string& name() const = 0;  // for messages
  // Most shared memory that a block of threads can have, in bytes.
  [[nodiscard]] virtual size_t max_shared_bytes() const = 0;
  // Makes it the device of the calling thread, for libraries that go by that.
  virtual Status MakeCurrent() = 0;

  // At a multiple of 256; kOutOfMemory when there is none. Free waits for work that is under way.
  virtual Result<DeviceAddress> Allocate(size_t size_bytes) = 0;
  virtual void Free(DeviceAddress address) = 0;
  // Host memory that copies can read and write by themselves, at a multiple of 4096.
  virtual Result<uint8_t*> AllocatePinned(size_t size_bytes) = 0;
  virtual void FreePinned(uint8_t* memory) = 0;

  virtual Result<DeviceStream> CreateStream() = 0;
  virtual void DestroyStream(DeviceStream stream) = 0;
  virtual Result<DeviceEvent> CreateEvent() = 0;
  virtual void DestroyEvent(DeviceEvent event) = 0;

  virtual Status Record(DeviceEvent event, DeviceStream stream) = 0;
  virtual Status MakeWait(DeviceStream stream, DeviceEvent event) = 0;  // what follows on stream
  virtual Result<bool> IsDone(DeviceEvent event) = 0;
  virtual Status Synchronize(DeviceEvent event) = 0;  // the calling thread waits

  // Host memory that is not pinned may be used again when the call returns.
  virtual Status CopyToDevice(DeviceAddress target, const void* source, size_t size_bytes,
                              DeviceStream stream) = 0;
  virtual Status CopyToHost(void* target, DeviceAddress source, size_t size_bytes,
                            DeviceStream stream) = 0;
  virtual Status CopyRows(const RowCopy& copy, DeviceStream stream) = 0;
  virtual Status Launch(const DecodeLaunch& launch, DeviceStream stream) = 0;
};

// The GPU of that number. kUnsupported, with the reason, where there is none, where its driver is
// too old, or in a build without CUDA.
Result<std::unique_ptr<DeviceRuntime>> OpenCudaDevice(int number = 0);

}  // namespace nwc
