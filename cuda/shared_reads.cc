#include "cuda/shared_reads.h"

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "format/checksum.h"

namespace nwc {
namespace {

// Ranks are processes of one build on one kind of machine: plain values travel.
struct PlanRecord {
  uint64_t fingerprint;    // of files and tensors
  uint64_t reading_bytes;  // DeviceBudget's
};
struct PartRecord {
  uint64_t gap_bytes;
  uint64_t direct;
};

template <typename T>
MutableByteSpan BytesOf(T* values, size_t count) {
  return {reinterpret_cast<uint8_t*>(values), count * sizeof(T)};
}

uint64_t Fingerprint(std::span<const DevicePart> parts) {
  std::vector<uint64_t> facts;
  for (const DevicePart& part : parts) {
    const Hash128& root = part.loader->superblock().root_hash;
    facts.insert(facts.end(), {root.low, root.high, part.requests.size()});
    for (const TensorRequest& request : part.requests) facts.push_back(request.number);
  }
  return Hash64(BytesOf(facts.data(), facts.size()));
}

}  // namespace

Status SharedReads::AgreeOnPlan(std::span<DevicePart> parts, DeviceBudget* budget) {
  if (alone()) return {};
  NWC_RETURN_IF_ERROR(ranks_->Agree({}));  // before the first Broadcast
  const uint64_t mine = Fingerprint(parts);
  PlanRecord record{mine, budget->reading_bytes};
  NWC_RETURN_IF_ERROR(ranks_->Broadcast(BytesOf(&record, 1), kReader));
  Status same;
  if (record.fingerprint != mine) {
    same = Status(ErrorCode::kUsage,
                  "has other files, or was asked for other tensors, than rank 0: expected the same "
                  "tensors of the same files in the same order on every rank");
  }
  NWC_RETURN_IF_ERROR(ranks_->Agree(same));
  budget->reading_bytes = record.reading_bytes;
  std::vector<PartRecord> traits;
  for (const DevicePart& part : parts) traits.push_back({part.gap_bytes, part.direct ? 1u : 0u});
  NWC_RETURN_IF_ERROR(ranks_->Broadcast(BytesOf(traits.data(), traits.size()), kReader));
  for (size_t p = 0; p < parts.size(); ++p) {
    parts[p].gap_bytes = traits[p].gap_bytes;
    parts[p].direct = traits[p].direct != 0;
  }
  return {};
}

Status SharedReads::Share(DeviceRuntime* runtime, MutableByteSpan pinned,
                          std::span<const MutableByteSpan> for_host, DeviceAddress device,
                          DeviceStream stream, bool* copied) {
  *copied = false;
  if (pinned.empty()) return {};
  if (!ranks_->on_device()) return ranks_->Broadcast(pinned, kReader);
  NWC_RETURN_IF_ERROR(BroadcastParts(for_host));
  if (reads()) {
    NWC_RETURN_IF_ERROR(runtime->CopyToDevice(device, pinned.data(), pinned.size(), stream));
  }
  *copied = true;
  return ranks_->BroadcastOnDevice(device, pinned.size(), kReader, stream);
}

// As one message.
Status SharedReads::BroadcastParts(std::span<const MutableByteSpan> parts) {
  std::vector<uint8_t> all;
  for (const MutableByteSpan part : parts) all.insert(all.end(), part.begin(), part.end());
  if (all.empty()) return {};
  NWC_RETURN_IF_ERROR(ranks_->Broadcast(all, kReader));
  const uint8_t* from = all.data();
  for (const MutableByteSpan part : parts) {
    std::copy_n(from, part.size(), part.begin());
    from += part.size();
  }
  return {};
}

Status SharedReads::Await(DeviceRuntime* runtime, DeviceEvent event) {
  if (alone() || !ranks_->on_device()) return runtime->Synchronize(event);
  using Clock = std::chrono::steady_clock;
  constexpr std::chrono::microseconds kPoll(50);
  const auto end = Clock::now() + std::chrono::duration<double>(ranks_->timeout_seconds());
  while (true) {
    NWC_ASSIGN_OR_RETURN(const bool done, runtime->IsDone(event));
    if (done) return {};
    if (Clock::now() > end) {
      return Status(ErrorCode::kIo, runtime->name() + ": a broadcast did not end within " +
                                        std::to_string(ranks_->timeout_seconds()) + " seconds");
    }
    std::this_thread::sleep_for(kPoll);
  }
}

}  // namespace nwc
