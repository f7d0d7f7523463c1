// Who owns which part of a fixed block of memory that is handed out in order. Bookkeeping only; not
// thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace nwc {

class StagingRing {
 public:
  static constexpr size_t kAlignment = 64;

  // Every position is a multiple of `alignment`.
  explicit StagingRing(size_t capacity_bytes, size_t alignment = kAlignment)
      : capacity_(capacity_bytes), alignment_(alignment) {}

  struct Room {
    size_t position = 0;  // bytes from the start of the block
    uint64_t ticket = 0;  // for Release
  };

  // Contiguous room for size_bytes, or nothing while there is none. A size up to the capacity gets
  // room at the latest when everything is released.
  std::optional<Room> Reserve(size_t size_bytes);

  // In any order, each ticket once; room becomes free again in the order it was reserved.
  void Release(uint64_t ticket);

  [[nodiscard]] bool HasRoom(size_t size_bytes) const;       // Reserve would succeed
  [[nodiscard]] size_t used_bytes() const { return used_; }  // reserved and not yet released
  [[nodiscard]] size_t peak_bytes() const { return peak_; }
  [[nodiscard]] size_t capacity_bytes() const { return capacity_; }

 private:
  struct Block {
    size_t begin, end;
    size_t size;
    bool released;
  };
  [[nodiscard]] std::optional<size_t> FindPosition(size_t wanted_bytes) const;

  size_t capacity_;
  size_t alignment_;
  std::deque<Block> blocks_;  // oldest first
  uint64_t first_ticket_ = 0;
  size_t used_ = 0;
  size_t peak_ = 0;
};

}  // namespace nwc
