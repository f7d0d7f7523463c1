#include "cuda/device_plan.h"

#include <algorithm>

#include "cuda/decode_batch.h"
#include "loader/byte_source.h"
#include "loader/read_request.h"
#include "loader/staging_ring.h"

namespace nwc {
namespace {

constexpr uint64_t kReadsInBudget = 8;
constexpr uint64_t kRoomsInBudget = 4;
// A read is a launch and a room in the staging memory. Small ones let more threads read at once;
// the bus copies 2 MiB at 95 % of its speed.
constexpr uint64_t kMaxReadBytes = 2 << 20;
constexpr size_t kReadsOfLatents = 2;  // on the device at once
constexpr size_t kMaxCheckBytes = 4 << 20;
constexpr size_t kMinCheckBytes = 256;
constexpr size_t kMaxNameInMessage = 200;

size_t LatentBytesOf(const Index& index, const TensorInfo& info, const FetchPiece& piece) {
  if (piece.chunk == FetchPiece::kSideInfo || !info.neural) return 0;
  const NeuralSettings& settings = index.neural_codecs[info.neural->codec];
  return AlignUp(DecodeBatch::LatentBytes(info, settings, piece.chunk),
                 DecodeBatch::kLatentAlignment);
}

// Cuts the reads of one part's plan where a room or its latents would exceed the limit.
class ReadSplitter {
 public:
  ReadSplitter(const Index& index, uint64_t limit_bytes, FetchPlan* plan)
      : index_(index), limit_(limit_bytes), plan_(plan) {}

  std::vector<size_t> Split() {
    const std::vector<FetchRead> whole = std::move(plan_->reads);
    plan_->reads.clear();
    for (const FetchRead& read : whole) SplitOne(read);
    return std::move(latent_bytes_);
  }

 private:
  void SplitOne(const FetchRead& whole) {
    FetchRead read = whole;
    uint64_t begin = 0, end = 0;  // of the new read in the old one
    size_t latents = 0;
    const auto finish = [&](size_t piece_end) {
      read.offset = whole.offset + begin;
      read.size_bytes = end - begin;
      read.piece_end = piece_end;
      plan_->reads.push_back(read);
      latent_bytes_.push_back(latents);
    };
    for (size_t p = whole.piece_begin; p < whole.piece_end; ++p) {
      FetchPiece& piece = plan_->pieces[p];
      const size_t own =
          LatentBytesOf(index_, index_.tensors[plan_->requests[piece.tensor].number], piece);
      FetchRead longer = read;
      longer.size_bytes = piece.read_offset + piece.size_bytes - begin;
      longer.piece_end = p + 1;
      if (p > read.piece_begin && (RoomBytes(longer) > limit_ || latents + own > limit_)) {
        finish(p);
        begin = piece.read_offset;
        read.piece_begin = p;
        latents = 0;
      }
      end = piece.read_offset + piece.size_bytes;
      piece.read_offset -= begin;
      latents += own;
    }
    finish(whole.piece_end);
  }

  const Index& index_;
  const uint64_t limit_;
  FetchPlan* plan_;
  std::vector<size_t> latent_bytes_;
};

Status PlanPart(const DevicePart& part, size_t number, uint64_t reading_bytes, DevicePlan* plan) {
  const Index& index = part.loader->index();
  NWC_ASSIGN_OR_RETURN(
      FetchPlan fetch,
      PlanFetch(index, part.requests,
                std::clamp<uint64_t>(reading_bytes / kReadsInBudget, 1, kMaxReadBytes),
                part.gap_bytes));
  const std::vector<size_t> latents =
      ReadSplitter(index, reading_bytes / kRoomsInBudget, &fetch).Split();
  plan->latent_bytes.insert(plan->latent_bytes.end(), latents.begin(), latents.end());
  if (part.direct) {
    AlignReads(kDirectBlock, part.loader->source().size(), reading_bytes / 2, &fetch);
  }
  AppendPlan(fetch, number, &plan->fetch);
  return {};
}

// The sizes of the memory that the reads go through.
struct Needs {
  size_t largest_room = 0, all_rooms = 0, largest_latents = 0, largest_check = 0;
  size_t largest_read = 0;  // its number
};

Needs NeedsOf(std::span<const DevicePart> parts, const DeviceBudget& budget,
              const DevicePlan& plan) {
  Needs needs;
  for (size_t r = 0; r < plan.fetch.reads.size(); ++r) {
    const size_t room = RoomBytes(plan.fetch.reads[r]);
    if (room > needs.largest_room) needs.largest_read = r;
    needs.largest_room = std::max(needs.largest_room, room);
    needs.all_rooms += AlignUp(room, kDirectBlock);
    needs.largest_latents = std::max(needs.largest_latents, plan.latent_bytes[r]);
  }
  for (const DevicePart& part : parts) {
    for (const TensorRequest& request : part.requests) {
      const TensorInfo& info = part.loader->index().tensors[request.number];
      if (budget.verify_decoded) {
        needs.largest_check = std::max<size_t>(needs.largest_check, info.decoded_bytes());
      }
    }
  }
  return needs;
}

Status ShareOut(std::span<const DevicePart> parts, const DeviceBudget& budget, DevicePlan* plan) {
  if (plan->fetch.reads.empty()) return {};
  const Needs needs = NeedsOf(parts, budget, *plan);
  const size_t least_check = std::min(needs.largest_check, kMinCheckBytes);
  const size_t least = needs.largest_room + std::max(needs.largest_latents, least_check);
  if (least > budget.staging_bytes) {
    const FetchRead& read = plan->fetch.reads[needs.largest_read];
    const FetchPiece& piece = plan->fetch.pieces[read.piece_begin];
    const Loader& loader = *parts[read.part].loader;
    const size_t number = plan->fetch.requests[piece.tensor].number;
    return Status(ErrorCode::kUsage, DescribePiece(loader, loader.index().tensors[number], piece) +
                                         ": needs staging_bytes of at least " +
                                         std::to_string(least) + ", has " +
                                         std::to_string(budget.staging_bytes));
  }
  const size_t beside_room = budget.staging_bytes - needs.largest_room;
  plan->latent_ring_bytes = std::min(kReadsOfLatents * needs.largest_latents, beside_room);
  plan->check_bytes = std::min({std::max(budget.staging_bytes / kReadsInBudget, least_check),
                                kMaxCheckBytes, needs.largest_check, beside_room});
  plan->ring_bytes = std::min(
      budget.staging_bytes - std::max(plan->latent_ring_bytes, plan->check_bytes), needs.all_rooms);
  return {};
}

}  // namespace

size_t DescriptionOffset(const FetchRead& read) {
  return AlignUp(read.size_bytes, DecodeBatch::kDescriptionAlignment);
}

size_t RoomBytes(const FetchRead& read) {
  return DescriptionOffset(read) +
         DecodeBatch::MaxDescriptionBytes(read.piece_end - read.piece_begin);
}

std::string DescribePiece(const Loader& loader, const TensorInfo& info, const FetchPiece& piece) {
  const bool side = piece.chunk == FetchPiece::kSideInfo;
  const uint64_t offset = side ? info.side()->offset : info.chunks[piece.chunk].offset;
  return loader.path() + ": tensor '" + info.name.substr(0, kMaxNameInMessage) + "' " +
         (side ? "side information" : "chunk " + std::to_string(piece.chunk)) + " at byte " +
         std::to_string(offset);
}

Result<DevicePlan> PlanDevice(std::span<const DevicePart> parts, const DeviceBudget& budget) {
  DevicePlan plan;
  plan.ring_alignment = StagingRing::kAlignment;
  for (size_t p = 0; p < parts.size(); ++p) {
    if (const Status status = PlanPart(parts[p], p, budget.reading_bytes, &plan); !status.ok()) {
      return status.WithContext(parts[p].loader->path());
    }
    if (parts[p].direct) plan.ring_alignment = kDirectBlock;
  }
  NWC_RETURN_IF_ERROR(ShareOut(parts, budget, &plan));
  return plan;
}

}  // namespace nwc
