// What slices must hold and read, worked out the plain way; a source that counts. For tests.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "loader/loader.h"
#include "loader/memory_source.h"

namespace nwc {

// The slice's part of a whole tensor.
inline std::vector<uint8_t> CutOut(const TensorInfo& info, const std::vector<uint8_t>& whole,
                                   const TensorSlice& slice) {
  const size_t size = DTypeSize(info.dtype);
  std::vector<uint8_t> part;
  for (uint64_t row = slice.row_begin; row < slice.row_end; ++row) {
    const auto begin =
        whole.begin() + static_cast<ptrdiff_t>((row * info.columns + slice.column_begin) * size);
    part.insert(part.end(), begin, begin + static_cast<ptrdiff_t>(slice.columns() * size));
  }
  return part;
}

inline bool Touches(const TileRange& tile, const TensorSlice& slice) {
  return std::max(tile.row_begin, slice.row_begin) < std::min(tile.row_end, slice.row_end) &&
         std::max(tile.column_begin, slice.column_begin) <
             std::min(tile.column_end, slice.column_end);
}

// Stored bytes of the tiles that the slice touches, and of the side information.
inline uint64_t TouchedBytes(const TensorInfo& info, const TensorSlice& slice) {
  uint64_t bytes = info.side() != nullptr ? info.side()->size : 0;
  for (size_t c = 0; c < info.chunks.size(); ++c) {
    if (Touches(info.Tile(c), slice)) bytes += info.chunks[c].size;
  }
  return bytes;
}

// Half of the ends lie where tiles end, if they can.
inline std::pair<uint64_t, uint64_t> RandomRange(uint64_t size, uint64_t tile, std::mt19937* rng) {
  std::uniform_int_distribution<uint64_t> any(0, size - 1);
  uint64_t a = any(*rng), b = any(*rng);
  if ((*rng)() % 2 == 0) a = a / tile * tile;
  if (a > b) std::swap(a, b);
  if ((*rng)() % 2 == 0) return {a, std::min(size, (b / tile + 1) * tile)};
  return {a, b + 1};
}

inline TensorSlice RandomSlice(const TensorInfo& info, std::mt19937* rng) {
  if (info.weights() == 0 || (*rng)() % 16 == 0) return {};
  TensorSlice slice;
  std::tie(slice.row_begin, slice.row_end) = RandomRange(info.rows, info.tile_rows, rng);
  std::tie(slice.column_begin, slice.column_end) =
      RandomRange(info.columns, info.tile_columns, rng);
  return slice;
}

// Bytes in memory of which no gap is read, however small; counts what is read.
class CountingSource : public MemorySource {
 public:
  CountingSource(std::vector<uint8_t> bytes, std::atomic<uint64_t>* bytes_read)
      : MemorySource("(counted)", std::move(bytes)), bytes_read_(bytes_read) {}

  Status Read(uint64_t offset, MutableByteSpan destination) const override {
    *bytes_read_ += destination.size();
    return MemorySource::Read(offset, destination);
  }
  [[nodiscard]] ReadTraits traits() const override {
    ReadTraits traits;
    traits.gap_bytes = 0;
    return traits;
  }

 private:
  std::atomic<uint64_t>* bytes_read_;
};

}  // namespace nwc
