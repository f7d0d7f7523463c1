// Ranks whose GPUs broadcast by NCCL, over NVLink where there is one. What little the hosts tell
// each other goes over another Broadcaster. libnccl.so.2 (2.18 or later) is looked for when a group
// is made; nothing is linked, and no header of it is needed.
#pragma once

#include <memory>

#include "cuda/broadcast.h"

namespace nwc {

class NcclBroadcaster : public Broadcaster {
 public:
  // A call of every rank of `host`, each with a GPU of its own. kUnsupported, on all ranks, where
  // one has no NCCL or an old one. `runtime` outlives it. `library` is for dlopen.
  static Result<std::unique_ptr<NcclBroadcaster>> Create(std::unique_ptr<Broadcaster> host,
                                                         DeviceRuntime* runtime,
                                                         const char* library = "libnccl.so.2");
  ~NcclBroadcaster() override;  // what was enqueued has ended by then
  NcclBroadcaster(const NcclBroadcaster&) = delete;
  NcclBroadcaster& operator=(const NcclBroadcaster&) = delete;

  [[nodiscard]] size_t rank() const override;
  [[nodiscard]] size_t world() const override;
  Status Agree(const Status& mine) override;
  Status Broadcast(MutableByteSpan bytes, size_t root) override;
  [[nodiscard]] bool on_device() const override { return true; }
  Status BroadcastOnDevice(DeviceAddress bytes, size_t size_bytes, size_t root,
                           DeviceStream stream) override;
  void Abort() override;
  [[nodiscard]] double timeout_seconds() const override;

 private:
  struct Impl;
  explicit NcclBroadcaster(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
