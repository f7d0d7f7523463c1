// Owned memory, streams and events of a device. The runtime outlives them.
#pragma once

#include <span>
#include <utility>

#include "cuda/device_runtime.h"
#include "format/bytes.h"

namespace nwc {

class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  DeviceBuffer(DeviceBuffer&& other) noexcept { *this = std::move(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(address_, other.address_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceBuffer() {
    if (runtime_ != nullptr) runtime_->Free(address_);
  }

  static Result<DeviceBuffer> Allocate(DeviceRuntime* runtime, size_t size_bytes) {
    DeviceBuffer buffer;
    if (size_bytes == 0) return buffer;
    NWC_ASSIGN_OR_RETURN(buffer.address_, runtime->Allocate(size_bytes));
    buffer.runtime_ = runtime;
    buffer.size_ = size_bytes;
    return buffer;
  }
  // What is there once the stream comes to it: a copy of `values`.
  template <typename T>
  static Result<DeviceBuffer> CopyOf(DeviceRuntime* runtime, std::span<const T> values,
                                     DeviceStream stream) {
    NWC_ASSIGN_OR_RETURN(DeviceBuffer buffer, Allocate(runtime, values.size_bytes()));
    if (!values.empty()) {
      NWC_RETURN_IF_ERROR(
          runtime->CopyToDevice(buffer.address_, values.data(), values.size_bytes(), stream));
    }
    return buffer;
  }

  [[nodiscard]] DeviceAddress address() const { return address_; }
  [[nodiscard]] size_t size() const { return size_; }
  // For jobs; only the device may read it.
  template <typename T>
  [[nodiscard]] T* as() const {
    return reinterpret_cast<T*>(address_.value);
  }

 private:
  DeviceRuntime* runtime_ = nullptr;
  DeviceAddress address_;
  size_t size_ = 0;
};

class PinnedBuffer {
 public:
  PinnedBuffer() = default;
  PinnedBuffer(PinnedBuffer&& other) noexcept { *this = std::move(other); }
  PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PinnedBuffer() {
    if (runtime_ != nullptr) runtime_->FreePinned(bytes_.data());
  }
  static Result<PinnedBuffer> Allocate(DeviceRuntime* runtime, size_t size_bytes) {
    PinnedBuffer buffer;
    NWC_ASSIGN_OR_RETURN(uint8_t* const bytes, runtime->AllocatePinned(size_bytes));
    buffer.runtime_ = runtime;
    buffer.bytes_ = {bytes, size_bytes};
    return buffer;
  }
  [[nodiscard]] MutableByteSpan span() const { return bytes_; }

 private:
  DeviceRuntime* runtime_ = nullptr;
  MutableByteSpan bytes_;
};

// A stream or an event, by what makes and ends it.
template <Result<void*> (DeviceRuntime::*kCreate)(), void (DeviceRuntime::*kDestroy)(void*)>
class DeviceHandle {
 public:
  DeviceHandle() = default;
  DeviceHandle(DeviceHandle&& other) noexcept { *this = std::move(other); }
  DeviceHandle& operator=(DeviceHandle&& other) noexcept {
    std::swap(runtime_, other.runtime_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~DeviceHandle() {
    if (runtime_ != nullptr) (runtime_->*kDestroy)(handle_);
  }
  static Result<DeviceHandle> Create(DeviceRuntime* runtime) {
    DeviceHandle handle;
    NWC_ASSIGN_OR_RETURN(handle.handle_, (runtime->*kCreate)());
    handle.runtime_ = runtime;
    return handle;
  }
  [[nodiscard]] void* get() const { return handle_; }

 private:
  DeviceRuntime* runtime_ = nullptr;
  void* handle_ = nullptr;
};

using OwnedStream = DeviceHandle<&DeviceRuntime::CreateStream, &DeviceRuntime::DestroyStream>;
using OwnedEvent = DeviceHandle<&DeviceRuntime::CreateEvent, &DeviceRuntime::DestroyEvent>;

// Until all that was enqueued is done. A device that fails does nothing any more.
inline void WaitForStream(DeviceRuntime* runtime, const OwnedStream& stream) {
  if (stream.get() == nullptr) return;
  const auto event = OwnedEvent::Create(runtime);
  if (event.ok() && runtime->Record(event->get(), stream.get()).ok()) {
    (void)runtime->Synchronize(event->get());
  }
}

}  // namespace nwc
