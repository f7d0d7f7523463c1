// A device that lives in the host's memory, for tests: kernels run in the emulator, streams are
// queues. Work is done as late as events allow and, between streams, in a random order that obeys
// them, so that whoever forgets to wait finds wrong bytes.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "cuda/device_runtime.h"

namespace nwc {

class HostDevice : public DeviceRuntime {
 public:
  explicit HostDevice(uint32_t seed = 1) : rng_(seed) {}
  ~HostDevice() override;  // does what is left; all memory must have been freed

  // The call of that number from now on (0: the next), of those that can fail, fails with kIo.
  void FailCall(size_t number) { calls_until_failure_ = number + 1; }
  // What it has: an allocation beyond it is kOutOfMemory.
  void LimitDeviceBytes(size_t limit) { device_limit_ = limit; }
  void LimitSharedBytes(size_t limit) { shared_limit_ = limit; }
  // Work of another library, in the stream's order: tried until it returns true.
  void EnqueueWork(DeviceStream stream, std::function<bool()> work);
  // From now on work is also done while nobody waits for it, as a GPU does it.
  void RunByItself();
  [[nodiscard]] size_t calls() const { return calls_; }
  [[nodiscard]] size_t device_bytes() const { return device_bytes_; }
  [[nodiscard]] size_t peak_device_bytes() const { return peak_device_bytes_; }
  [[nodiscard]] size_t peak_pinned_bytes() const { return peak_pinned_bytes_; }
  [[nodiscard]] size_t objects() const { return streams_.size() - 1 + events_.size(); }

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] size_t max_shared_bytes() const override { return shared_limit_; }
  Status MakeCurrent() override { return {}; }
  Result<DeviceAddress> Allocate(size_t size_bytes) override;
  void Free(DeviceAddress address) override;
  Result<uint8_t*> AllocatePinned(size_t size_bytes) override;
  void FreePinned(uint8_t* memory) override;
  Result<DeviceStream> CreateStream() override;
  void DestroyStream(DeviceStream stream) override;
  Result<DeviceEvent> CreateEvent() override;
  void DestroyEvent(DeviceEvent event) override;
  Status Record(DeviceEvent event, DeviceStream stream) override;
  Status MakeWait(DeviceStream stream, DeviceEvent event) override;
  Result<bool> IsDone(DeviceEvent event) override;
  Status Synchronize(DeviceEvent event) override;
  Status CopyToDevice(DeviceAddress target, const void* source, size_t size_bytes,
                      DeviceStream stream) override;
  Status CopyToHost(void* target, DeviceAddress source, size_t size_bytes,
                    DeviceStream stream) override;
  Status CopyRows(const RowCopy& copy, DeviceStream stream) override;
  Status Launch(const DecodeLaunch& launch, DeviceStream stream) override;

 private:
  struct Event {
    uint64_t recorded = 0, done = 0;
  };
  struct Work {
    std::function<bool()> action;  // true: done; or, without one, a wait:
    const Event* event = nullptr;
    uint64_t record = 0;
  };

  Status Call();  // counts, and fails when told
  Status Enqueue(DeviceStream stream, std::function<bool()> action);
  bool DoSome();  // one piece of work that may be done; false when there is none
  void DoAll();

  const std::string name_ = "host device";
  std::mutex mutex_;
  std::mt19937 rng_;
  std::map<DeviceStream, std::deque<Work>> streams_{{nullptr, {}}};
  std::set<DeviceEvent> events_;
  std::thread runner_;
  std::atomic<bool> stop_ = false;
  std::map<uint8_t*, size_t> device_, pinned_;
  size_t device_bytes_ = 0, peak_device_bytes_ = 0, pinned_bytes_ = 0, peak_pinned_bytes_ = 0;
  size_t calls_ = 0, calls_until_failure_ = 0;
  size_t device_limit_ = SIZE_MAX, shared_limit_ = 227 << 10;  // the latter as Hopper's
};

}  // namespace nwc
