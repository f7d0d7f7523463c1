// How the ranks of a group, one process a GPU, load a model that only one of them reads.
//
//   NWC_ASSIGN_OR_RETURN(auto host, SocketBroadcaster::Meet("/run/me/load", rank, world, {}));
//   NWC_ASSIGN_OR_RETURN(auto ranks, NcclBroadcaster::Create(std::move(host), device.get()));
//   options.ranks = ranks.get();       // DeviceLoadOptions, on every rank
//
// Every rank makes the same calls in the same order, from one thread. A call that fails ends the
// group: it fails on every rank, no later than the timeout allows, and each later call gives the
// same failure at once. Nothing waits for ever for a rank that died or is silent.
#pragma once

#include <cstddef>

#include "cuda/device_runtime.h"
#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

class Broadcaster {
 public:
  virtual ~Broadcaster() = default;
  [[nodiscard]] virtual size_t rank() const = 0;
  [[nodiscard]] virtual size_t world() const = 0;  // ranks

  // Each rank says how it is doing. All get the same answer: OK, or the failure of the lowest rank
  // that has one, with that rank named. kIo for ranks that are gone or silent.
  virtual Status Agree(const Status& mine) = 0;

  // Host memory, as many bytes on every rank: root's come to all. Between an Agree that was OK and
  // this no rank may fail.
  virtual Status Broadcast(MutableByteSpan bytes, size_t root) = 0;

  // Whether BroadcastOnDevice can be used; else bytes go through the host's memory.
  [[nodiscard]] virtual bool on_device() const = 0;
  // The same for device memory, enqueued on the stream. When another rank dies it may go on there
  // until this one calls Abort, or calls nothing for twice timeout_seconds.
  virtual Status BroadcastOnDevice(DeviceAddress bytes, size_t size_bytes, size_t root,
                                   DeviceStream stream) = 0;
  // Ends the group on this rank. What was enqueued ends, its memory holds anything then.
  virtual void Abort() = 0;
  [[nodiscard]] virtual double timeout_seconds() const = 0;
};

}  // namespace nwc
