// From a warp's lanes to a tile in memory: lines are gathered in shared memory and stored 16 bytes
// a lane where the destination allows it. Nothing outside the job's window is stored.
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"

namespace nwc {

inline constexpr uint32_t kStageBytes = kWarpLanes * sizeof(Vector16);

// The bits of an element of a coded float dtype.
template <DType kDType>
struct ElementOf {
  using Bits = uint16_t;
};
template <>
struct ElementOf<DType::kF32> {
  using Bits = uint32_t;
};

template <DType kDType>
NWC_DEVICE_INLINE typename ElementOf<kDType>::Bits ElementBits(float value) {
  if constexpr (kDType == DType::kF32) {
    return std::bit_cast<uint32_t>(value);
  } else if constexpr (kDType == DType::kF16) {
    return FloatToHalf(value);
  } else {
    return FloatToBFloat16(value);
  }
}

// The same for a value that is no NaN.
template <DType kDType>
NWC_DEVICE_INLINE typename ElementOf<kDType>::Bits NumberBits(float value) {
#ifdef __CUDA_ARCH__
  if constexpr (kDType == DType::kBF16) {
    uint16_t bits;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
  } else if constexpr (kDType == DType::kF16) {
    uint16_t bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
  }
#endif
  return ElementBits<kDType>(value);
}

// One element of the tile, if it is wanted.
template <typename Bits>
NWC_DEVICE_INLINE void StoreInWindow(const ChunkJob& job, uint32_t row, uint32_t column,
                                     Bits bits) {
  const TileWindow& w = job.window;
  if (row < w.row_begin || row >= w.row_end || column < w.column_begin || column >= w.column_end) {
    return;
  }
  StoreAligned(job.out + (row - w.row_begin) * job.row_stride_bytes +
                   (column - w.column_begin) * sizeof(Bits),
               bits);
}

NWC_DEVICE_INLINE bool IsAligned16(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % sizeof(Vector16) == 0;
}

// Lines of 32 positions, gathered until they fill the stage (kStageBytes of shared memory).
template <typename Bits>
class LineStage {
 public:
  static constexpr uint32_t kLines = kStageBytes / (kWarpLanes * sizeof(Bits));
  static constexpr uint32_t kVectorElements = sizeof(Vector16) / sizeof(Bits);
  static constexpr uint32_t kVectorsPerLine = kWarpLanes / kVectorElements;

  NWC_DEVICE_INLINE explicit LineStage(uint8_t* stage) : stage_(stage) {}

  NWC_DEVICE_INLINE void Put(uint32_t line, int position, Bits bits) const {
    StoreAligned(Address(line % kLines, static_cast<uint32_t>(position)), bits);
  }
  // Whether line is the last that fits.
  static NWC_DEVICE_INLINE bool Fills(uint32_t line) { return line % kLines == kLines - 1; }

  NWC_DEVICE_INLINE uint8_t* Address(uint32_t line, uint32_t position) const {
    return stage_ + sizeof(Bits) * (line * kWarpLanes + position);
  }

 private:
  uint8_t* stage_;
};

// Stores lines first … last (all in the stage), each a row of the stripe that begins at `stripe`.
template <typename Bits, typename Warp>
NWC_DEVICE_INLINE void StoreRows(Warp& warp, const ChunkJob& job, const LineStage<Bits>& stage,
                                 uint32_t stripe, uint32_t first, uint32_t last) {
  using Stage = LineStage<Bits>;
  const TileWindow& w = job.window;
  const bool wanted = stripe >= w.column_begin && stripe + kWarpLanes <= w.column_end;
  uint8_t* const top = job.out + (wanted ? stripe - w.column_begin : 0) * sizeof(Bits);
  const bool wide = wanted && IsAligned16(top) && job.row_stride_bytes % sizeof(Vector16) == 0;
  warp.Sync();
  warp.Each([&](auto&, int id) {
    const auto lane = static_cast<uint32_t>(id);
    if (wide) {
      const uint32_t row = first + lane / Stage::kVectorsPerLine;
      if (row > last || row < w.row_begin || row >= w.row_end) return;
      const uint32_t position = lane % Stage::kVectorsPerLine * Stage::kVectorElements;
      StoreAligned(top + (row - w.row_begin) * job.row_stride_bytes + position * sizeof(Bits),
                   LoadAligned<Vector16>(stage.Address(row % Stage::kLines, position)));
      return;
    }
    for (uint32_t row = first; row <= last; ++row) {
      StoreInWindow(job, row, stripe + lane,
                    LoadAligned<Bits>(stage.Address(row % Stage::kLines, lane)));
    }
  });
  warp.Sync();
}

// Stores lines first … last, line l being elements 32·l … of the tile in row-major order. The
// window is [begin, end) of these where `packed`.
struct ElementRange {
  bool packed;  // the window's rows are whole and lie one after the other in memory
  uint32_t begin, end;
};

NWC_DEVICE_INLINE ElementRange RangeOfWindow(const ChunkJob& job, uint32_t element_bytes) {
  const TileWindow& w = job.window;
  const bool packed = w.column_begin == 0 && w.column_end == job.columns &&
                      job.row_stride_bytes == uint64_t{job.columns} * element_bytes;
  return {packed, w.row_begin * job.columns, w.row_end * job.columns};
}

template <typename Bits, typename Warp>
NWC_DEVICE_INLINE void StoreElements(Warp& warp, const ChunkJob& job, const LineStage<Bits>& stage,
                                     const ElementRange& range, uint32_t first, uint32_t last) {
  using Stage = LineStage<Bits>;
  const uint32_t first_element = first * kWarpLanes;
  const uint32_t end_element = Least((last + 1) * kWarpLanes, job.rows * job.columns);
  const bool wide = range.packed && first_element >= range.begin && end_element <= range.end;
  uint8_t* const target =
      job.out + (wide ? first_element - range.begin : 0) * uint64_t{sizeof(Bits)};
  const bool aligned = wide && IsAligned16(target);
  warp.Sync();
  warp.Each([&](auto&, int id) {
    const auto lane = static_cast<uint32_t>(id);
    const uint32_t offset = lane * Stage::kVectorElements;
    const uint32_t left = end_element - first_element;
    if (aligned && offset + Stage::kVectorElements <= left) {
      StoreAligned(target + offset * sizeof(Bits), LoadAligned<Vector16>(stage.Address(0, offset)));
      return;
    }
    const uint32_t count = aligned ? Least(offset + Stage::kVectorElements, left) : left;
    for (uint32_t i = aligned ? offset : lane; i < count; i += aligned ? 1 : kWarpLanes) {
      const uint32_t element = first_element + i;
      StoreInWindow(job, element / job.columns, element % job.columns,
                    LoadAligned<Bits>(stage.Address(0, i)));
    }
  });
  warp.Sync();
}

}  // namespace nwc
