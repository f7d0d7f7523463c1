// An `exact` chunk decoded by one warp (spec/codec.md section 8). The layout of the chunk is that
// of format/exact_chunk.h.
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"
#include "cuda/exact_table.h"
#include "cuda/tile_writer.h"
#include "cuda/word_ring.h"

namespace nwc {

// Shared memory of one warp.
struct alignas(16) ExactWarpMemory {
  uint8_t stage[kStageBytes];
  uint8_t ring[WordRing::kBytes];
  ExactTable table;
};

inline constexpr uint32_t kExactStatesAt = 4;
inline constexpr uint32_t kExactPresentAt = 132;
inline constexpr uint32_t kExactFrequenciesAt = 164;

// Reads the frequencies into table->frequency; returns 0, 27 or 28. *end: the byte after them.
template <typename Warp>
NWC_DEVICE uint32_t ReadExactFrequencies(Warp& warp, const ChunkJob& job, ExactTable* table,
                                         uint32_t* end) {
  uint32_t count = 0;
  for (uint32_t i = 0; i < 8; ++i) {
    count += CountOnes(LoadAligned<uint32_t>(job.bytes + kExactPresentAt + 4 * i));
  }
  const uint32_t there = Least(count, (job.size_bytes - kExactFrequenciesAt) / 2);
  // Each lane reads 8 symbols; as many frequencies come before as symbols below are present.
  warp.Each([&](auto& lane, int id) {
    lane.bad = false;
    const auto own = static_cast<uint32_t>(id);
    uint32_t at = 0;
    for (uint32_t byte = 0; byte < own; ++byte) at += CountOnes(job.bytes[kExactPresentAt + byte]);
    const uint32_t present = job.bytes[kExactPresentAt + own];
    for (uint32_t bit = 0; bit < 8; ++bit) {
      uint16_t frequency = 0;
      if ((present >> bit & 1) != 0) {
        if (at < there) {
          frequency = LoadAligned<uint16_t>(job.bytes + kExactFrequenciesAt + 2 * at);
          lane.bad |= frequency == 0 || frequency >= kProbabilityScale;
        }
        ++at;
      }
      table->frequency[8 * own + bit] = frequency;
    }
  });
  if (warp.Ballot([](const auto& lane) { return lane.bad; }) != 0) return 28;
  if (there < count) return 27;
  *end = kExactFrequenciesAt + 2 * count;
  return 0;
}

// Symbol and stored low bits of element i to the element.
template <typename Bits>
NWC_DEVICE_INLINE Bits JoinExact(uint32_t symbol, const uint8_t* low16, const uint8_t* low8,
                                 uint32_t i) {
  if constexpr (sizeof(Bits) == 4) {
    const uint32_t rotated = symbol << 24 | static_cast<uint32_t>(low8[i]) << 16 |
                             LoadAligned<uint16_t>(low16 + size_t{2} * i);
    return rotated >> 1 | rotated << 31;
  } else {
    const uint32_t rotated = symbol << 8 | low8[i];
    return static_cast<uint16_t>(rotated >> 1 | rotated << 15);
  }
}

// Bits: uint16_t or uint32_t. Returns 0 or the rule that the chunk breaks.
template <typename Bits, typename Warp>
NWC_DEVICE uint32_t DecodeExactChunk(Warp& warp, const ExactJob& job, ExactWarpMemory* memory) {
  if (job.size_bytes < kExactFrequenciesAt || job.size_bytes % 4 != 0) return 27;
  const uint32_t elements = job.rows * job.columns;
  uint32_t at = 0;
  if (const uint32_t rule = ReadExactFrequencies(warp, job, &memory->table, &at); rule != 0)
    return rule;
  if (!BuildExactTable(warp, &memory->table)) return 28;
  const uint32_t word_count = LoadAligned<uint32_t>(job.bytes);
  uint32_t words_at, low16_at, low8_at;
  PartCutter cutter(job, at);
  if (!cutter.Take(uint64_t{word_count} * 2, &words_at) ||
      !cutter.Take(sizeof(Bits) == 4 ? uint64_t{elements} * 2 : 0, &low16_at) ||
      !cutter.Take(elements, &low8_at) || !cutter.Pad() || !cutter.done()) {
    return 27;
  }
  if (!LoadStates(warp, job.bytes + kExactStatesAt)) return 26;
  WordRing words(job, words_at, word_count, memory->ring);
  words.Begin(warp);
  const LineStage<Bits> stage(memory->stage);
  const ElementRange range = RangeOfWindow(job, sizeof(Bits));
  const uint32_t lines = elements / kWarpLanes + (elements % kWarpLanes != 0);
  uint32_t stored = 0;
  for (uint32_t line = 0; line < lines; ++line) {
    warp.Each([&](RansLane& lane, int id) {
      const uint32_t i = line * kWarpLanes + static_cast<uint32_t>(LanePosition(id));
      lane.active = i < elements;
      if (!lane.active) return;
      const uint32_t symbol = DecodeSymbol(memory->table.bucket, kExactTableBits, &lane.x);
      stage.Put(line, LanePosition(id),
                JoinExact<Bits>(symbol, job.bytes + low16_at, job.bytes + low8_at, i));
    });
    words.Renormalize(warp);
    if (words.overrun()) return 26;
    if (LineStage<Bits>::Fills(line) || line + 1 == lines) {
      StoreElements(warp, job, stage, range, stored, line);
      stored = line + 1;
    }
  }
  return EndsRight(warp, words) ? 0 : 26;
}

}  // namespace nwc
