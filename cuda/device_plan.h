// What a load onto a device reads, batch by batch, and how it shares out its staging memory. Pure.
//
//   pinned on the host   [ring: reads and what describes them][check]
//   on the device        [ring: the same at the same places  ][latents]
//
// Each is staging_bytes at most.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "loader/fetch_plan.h"
#include "loader/loader.h"

namespace nwc {

// Requests that follow each other in one container.
struct DevicePart {
  const Loader* loader = nullptr;
  std::vector<TensorRequest> requests;  // by the container's own numbers
  uint64_t gap_bytes = 0;               // between extents that share a read
  bool direct = false;                  // reads want whole blocks (O_DIRECT)
};

struct DeviceBudget {
  size_t staging_bytes = 0;  // for the memory
  size_t reading_bytes = 0;  // for the size of reads: of the rank that reads
  bool verify_decoded = false;
};

struct DevicePlan {
  FetchPlan fetch;                   // reads name their part; sums of bytes are not kept
  std::vector<size_t> latent_bytes;  // of each read: what its chunks of nwc take on the device
  size_t ring_alignment = 0;
  size_t ring_bytes = 0, latent_ring_bytes = 0, check_bytes = 0;
};

// A read takes at most a quarter of the budget, latents another, unless a single chunk needs more.
// kUsage where the budget is too small for one, with the size that would do; errors name file and
// tensor.
Result<DevicePlan> PlanDevice(std::span<const DevicePart> parts, const DeviceBudget& budget);

// Of a read in the ring, with what describes it.
size_t RoomBytes(const FetchRead& read);
// Where in its room the description begins.
size_t DescriptionOffset(const FetchRead& read);

// "m.nwc: tensor 'a' chunk 2 at byte 4096".
std::string DescribePiece(const Loader& loader, const TensorInfo& info, const FetchPiece& piece);

}  // namespace nwc
