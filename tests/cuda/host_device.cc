#include "tests/cuda/host_device.h"

#include <algorithm>
#include <cassert>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "cuda/emulator.h"

namespace nwc {

HostDevice::~HostDevice() {
  stop_ = true;
  if (runner_.joinable()) runner_.join();
  DoAll();
  assert(device_.empty() && pinned_.empty());
}

Status HostDevice::Call() {
  ++calls_;
  if (calls_until_failure_ > 0 && --calls_until_failure_ == 0) {
    return Status(ErrorCode::kIo, name_ + ": told to fail");
  }
  return {};
}

Result<DeviceAddress> HostDevice::Allocate(size_t size_bytes) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  if (size_bytes > device_limit_ - std::min(device_limit_, device_bytes_)) {
    return Status(ErrorCode::kOutOfMemory, name_ + ": device memory: none left");
  }
  // Of exactly that size, so that AddressSanitizer sees what lies beyond it; alignment is malloc's.
  auto* const memory = static_cast<uint8_t*>(std::malloc(size_bytes));
  std::fill_n(memory, size_bytes, uint8_t{0xA5});
  device_.emplace(memory, size_bytes);
  device_bytes_ += size_bytes;
  peak_device_bytes_ = std::max(peak_device_bytes_, device_bytes_);
  return DeviceAddress{memory};
}

void HostDevice::Free(DeviceAddress address) {
  const std::lock_guard lock(mutex_);
  DoAll();
  const auto at = device_.find(address.value);
  assert(at != device_.end());
  device_bytes_ -= at->second;
  device_.erase(at);
  std::free(address.value);
}

Result<uint8_t*> HostDevice::AllocatePinned(size_t size_bytes) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  constexpr size_t kPage = 4096;
  auto* const memory =
      static_cast<uint8_t*>(std::aligned_alloc(kPage, (size_bytes + kPage - 1) / kPage * kPage));
  pinned_.emplace(memory, size_bytes);
  pinned_bytes_ += size_bytes;
  peak_pinned_bytes_ = std::max(peak_pinned_bytes_, pinned_bytes_);
  return memory;
}

void HostDevice::FreePinned(uint8_t* memory) {
  const std::lock_guard lock(mutex_);
  DoAll();
  const auto at = pinned_.find(memory);
  assert(at != pinned_.end());
  pinned_bytes_ -= at->second;
  pinned_.erase(at);
  std::free(memory);
}

Result<DeviceStream> HostDevice::CreateStream() {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  DeviceStream stream = std::malloc(1);
  streams_.try_emplace(stream);
  return stream;
}

void HostDevice::DestroyStream(DeviceStream stream) {
  const std::lock_guard lock(mutex_);
  while (!streams_.at(stream).empty() && DoSome()) {
  }
  streams_.erase(stream);
  std::free(stream);
}

Result<DeviceEvent> HostDevice::CreateEvent() {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  DeviceEvent event = new Event;
  events_.insert(event);
  return event;
}

void HostDevice::DestroyEvent(DeviceEvent event) {
  const std::lock_guard lock(mutex_);
  DoAll();  // waits may look at it
  events_.erase(event);
  delete static_cast<Event*>(event);
}

Status HostDevice::Enqueue(DeviceStream stream, std::function<bool()> action) {
  streams_.at(stream).push_back({std::move(action)});
  return {};
}

void HostDevice::RunByItself() {
  runner_ = std::thread([this] {
    while (!stop_) {
      {
        const std::lock_guard lock(mutex_);
        (void)DoSome();
      }
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  });
}

void HostDevice::EnqueueWork(DeviceStream stream, std::function<bool()> work) {
  const std::lock_guard lock(mutex_);
  (void)Enqueue(stream, std::move(work));
}

Status HostDevice::Record(DeviceEvent event, DeviceStream stream) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  auto* const e = static_cast<Event*>(event);
  const uint64_t record = ++e->recorded;
  return Enqueue(stream, [e, record] {
    e->done = record;
    return true;
  });
}

Status HostDevice::MakeWait(DeviceStream stream, DeviceEvent event) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  const auto* const e = static_cast<const Event*>(event);
  streams_.at(stream).push_back({nullptr, e, e->recorded});
  return {};
}

bool HostDevice::DoSome() {
  std::vector<std::deque<Work>*> ready;
  for (auto& [stream, queue] : streams_) {
    while (!queue.empty() && queue.front().action == nullptr &&
           queue.front().event->done >= queue.front().record) {
      queue.pop_front();
    }
    if (!queue.empty() && queue.front().action != nullptr) ready.push_back(&queue);
  }
  while (!ready.empty()) {
    const auto chosen = ready.begin() + static_cast<std::ptrdiff_t>(rng_() % ready.size());
    if ((*chosen)->front().action()) {
      (*chosen)->pop_front();
      return true;
    }
    ready.erase(chosen);
  }
  return false;
}

void HostDevice::DoAll() {
  while (DoSome()) {
  }
}

Result<bool> HostDevice::IsDone(DeviceEvent event) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  for (auto steps = rng_() % 4; steps > 0 && DoSome(); --steps) {
  }
  const auto* const e = static_cast<const Event*>(event);
  return e->done == e->recorded;
}

Status HostDevice::Synchronize(DeviceEvent event) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  const auto* const e = static_cast<const Event*>(event);
  while (e->done < e->recorded) {
    if (!DoSome()) return Status(ErrorCode::kInternal, "streams wait for each other");
  }
  return {};
}

Status HostDevice::CopyToDevice(DeviceAddress target, const void* source, size_t size_bytes,
                                DeviceStream stream) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  const auto* const bytes = static_cast<const uint8_t*>(source);
  const bool pinned = std::any_of(pinned_.begin(), pinned_.end(), [&](const auto& block) {
    return bytes >= block.first && bytes < block.first + block.second;
  });
  if (pinned) {
    return Enqueue(stream, [=] {
      std::memcpy(target.value, bytes, size_bytes);
      return true;
    });
  }
  return Enqueue(stream, [target, copy = std::vector<uint8_t>(bytes, bytes + size_bytes)] {
    std::memcpy(target.value, copy.data(), copy.size());
    return true;
  });
}

Status HostDevice::CopyToHost(void* target, DeviceAddress source, size_t size_bytes,
                              DeviceStream stream) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  return Enqueue(stream, [=] {
    std::memcpy(target, source.value, size_bytes);
    return true;
  });
}

Status HostDevice::CopyRows(const RowCopy& copy, DeviceStream stream) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  return Enqueue(stream, [copy] {
    for (uint64_t row = 0; row < copy.rows && copy.row_bytes > 0; ++row) {
      std::memcpy((copy.target + row * copy.target_stride_bytes).value,
                  (copy.source + row * copy.source_stride_bytes).value, copy.row_bytes);
    }
    return true;
  });
}

Status HostDevice::Launch(const DecodeLaunch& launch, DeviceStream stream) {
  const std::lock_guard lock(mutex_);
  NWC_RETURN_IF_ERROR(Call());
  return Enqueue(stream, [launch] {
    EmulateLaunch(launch);
    return true;
  });
}

}  // namespace nwc
