#include "loader/staging_ring.h"

#include <algorithm>
#include <cassert>

#include "format/bytes.h"

namespace nwc {

std::optional<size_t> StagingRing::FindPosition(size_t wanted_bytes) const {
  // Never empty, so that two blocks never begin at one place.
  const size_t size_bytes = std::max<size_t>(wanted_bytes, 1);
  if (blocks_.empty()) {
    if (size_bytes > capacity_) return std::nullopt;
    return 0;
  }
  const size_t tail = blocks_.front().begin;
  const size_t head = std::min<size_t>(AlignUp(blocks_.back().end, alignment_), capacity_);
  const bool wrapped = blocks_.back().begin < tail;
  if (!wrapped && size_bytes <= capacity_ - head) return head;
  const size_t from = wrapped ? head : 0;
  // head may be rounded past tail.
  if (from <= tail && size_bytes <= tail - from) return from;
  return std::nullopt;
}

std::optional<StagingRing::Room> StagingRing::Reserve(size_t size_bytes) {
  const auto position = FindPosition(size_bytes);
  if (!position) return std::nullopt;
  const size_t size = std::max<size_t>(size_bytes, 1);
  blocks_.push_back({*position, *position + size, size, false});
  used_ += size;
  peak_ = std::max(peak_, used_);
  return Room{*position, first_ticket_ + blocks_.size() - 1};
}

bool StagingRing::HasRoom(size_t size_bytes) const { return FindPosition(size_bytes).has_value(); }

void StagingRing::Release(uint64_t ticket) {
  assert(ticket >= first_ticket_ && ticket - first_ticket_ < blocks_.size());
  Block& block = blocks_[ticket - first_ticket_];
  assert(!block.released);
  block.released = true;
  used_ -= block.size;
  while (!blocks_.empty() && blocks_.front().released) {
    blocks_.pop_front();
    ++first_ticket_;
  }
}

}  // namespace nwc
