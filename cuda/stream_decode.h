// A `stream` chunk decoded by one warp, lane by lane as spec/codec.md sections 1-7 say. The layout
// of the chunk is that of format/stream_chunk.h.
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"
#include "cuda/table_window.h"
#include "cuda/tile_writer.h"
#include "cuda/word_ring.h"
#include "format/synthesis.h"

namespace nwc {

inline constexpr uint32_t kStreamUnroll = 4;  // lines
inline constexpr uint32_t kStageLines = LineStage<uint16_t>::kLines;

struct StreamLane : RansLane {
  uint32_t trellis;  // 4s + 32q of its state s and quantiser q; higher and lower bits are anything
  float column_factor;
  int column_table;    // less the window's low
  LineFacts next_row;  // of one of the lines that fill the stage next
};

// Shared memory of one warp.
struct alignas(16) StreamWarpMemory {
  uint8_t stage[kStageBytes];
  uint8_t ring[WordRing::kBytes];
  LineFacts rows[kStageLines];  // of the lines that fill the stage
};

// Byte offsets of the parts of a chunk.
struct StreamParts {
  uint32_t exact_columns, patches, words;
  uint32_t words_at, column_ids_at, patch_ids_at, column_values_at, patch_values_at;
};

inline constexpr uint32_t kStreamStatesAt = 12;
inline constexpr uint32_t kStreamWordsAt = 140;

// R23.
NWC_DEVICE_INLINE bool CutStreamChunk(const ChunkJob& job, const StreamBlock& block,
                                      uint32_t element_bytes, StreamParts* parts) {
  if (job.size_bytes < kStreamWordsAt || job.size_bytes % 4 != 0) return false;
  const uint8_t* const bytes = job.bytes;
  StreamParts& p = *parts;
  p.exact_columns = LoadAligned<uint16_t>(bytes + 2);
  p.patches = LoadAligned<uint32_t>(bytes + 4);
  p.words = LoadAligned<uint32_t>(bytes + 8);
  if (bytes[0] != block.bucket_bits || bytes[1] != 0 || p.exact_columns > job.columns ||
      p.patches > job.rows * job.columns) {
    return false;
  }
  PartCutter cutter(job, kStreamWordsAt);
  return cutter.Take(uint64_t{p.words} * 2, &p.words_at) &&
         cutter.Take(uint64_t{p.exact_columns} * 2, &p.column_ids_at) && cutter.Pad() &&
         cutter.Take(uint64_t{p.patches} * 4, &p.patch_ids_at) &&
         cutter.Take(uint64_t{element_bytes} * job.rows * p.exact_columns, &p.column_values_at) &&
         cutter.Take(uint64_t{element_bytes} * p.patches, &p.patch_values_at) && cutter.Pad() &&
         cutter.done();
}

// Exact columns, then patches.
template <typename Bits, typename Warp>
NWC_DEVICE void OverwriteExactly(Warp& warp, const ChunkJob& job, const StreamParts& p) {
  warp.Sync();
  warp.Each([&](auto&, int id) {
    for (uint32_t i = 0; i < p.exact_columns; ++i) {
      const uint32_t column = LoadAligned<uint16_t>(job.bytes + p.column_ids_at + 2 * i);
      const uint8_t* values = job.bytes + p.column_values_at + sizeof(Bits) * i * job.rows;
      for (auto row = static_cast<uint32_t>(id); row < job.rows; row += kWarpLanes) {
        StoreInWindow(job, row, column, LoadAligned<Bits>(values + sizeof(Bits) * row));
      }
    }
  });
  warp.Sync();
  warp.Each([&](auto&, int id) {
    for (auto i = static_cast<uint32_t>(id); i < p.patches; i += kWarpLanes) {
      const uint32_t at = LoadAligned<uint32_t>(job.bytes + p.patch_ids_at + 4 * i);
      StoreInWindow(job, at / job.columns, at % job.columns,
                    LoadAligned<Bits>(job.bytes + p.patch_values_at + sizeof(Bits) * i));
    }
  });
}

// What a line's step needs beyond its lane: copies, that stay in registers.
struct StreamLine {
  TableWindow tables;
  uint32_t next[2];
  int offset1, offset2;
};

// One weight of a lane: its value, of a row with these facts.
NWC_DEVICE_INLINE float DecodeWeight(const StreamLine& line, const LineFacts& row,
                                     StreamLane* lane) {
  const uint32_t q32 = lane->trellis & 32;
  const auto k =
      static_cast<int8_t>(line.tables.Decode(row.table + lane->column_table, q32, &lane->x));
  const uint32_t nexts = (k & 1) != 0 ? line.next[1] : line.next[0];
  lane->trellis = RotateRight(nexts, lane->trellis & 28);
  // ReconstructionLevel without branches.
  const int magnitude = k < 0 ? -k : k;
  const int offset = magnitude == 1 ? line.offset1 : line.offset2;
  const int level = 2 * kOffsetUnit * magnitude - offset - kOffsetUnit / 32 * static_cast<int>(q32);
  const int some = k == 0 ? 0 : level;
  return Reconstruct(k < 0 ? -some : some, lane->column_factor, row.factor);
}

// The line at `slot` of the stage.
template <DType kDType, bool kFull, typename Warp>
NWC_DEVICE_INLINE void DecodeLine(Warp& warp, const StreamLine& line, uint32_t slot,
                                  WordRing& words, StreamWarpMemory* memory) {
  const LineStage<typename ElementOf<kDType>::Bits> stage(memory->stage);
  const LineFacts row = memory->rows[slot];
  warp.Each([&](StreamLane& lane, int id) {
    if (!kFull && !lane.active) return;
    stage.Put(slot, LanePosition(id), NumberBits<kDType>(DecodeWeight(line, row, &lane)));
  });
  words.Renormalize(warp);
}

// The facts of the lines from `row` on into memory->rows, and those of the lines after them on
// their way into the lanes.
template <uint32_t kLines, typename Warp>
NWC_DEVICE_INLINE void NextRows(Warp& warp, const StreamJob& job, uint32_t row,
                                StreamWarpMemory* memory) {
  warp.Each([&](StreamLane& lane, int id) {
    const auto own = static_cast<uint32_t>(id) % kLines;
    if (static_cast<uint32_t>(id) < kLines) memory->rows[own] = lane.next_row;
    lane.next_row = job.row_facts[Least(row + kLines + own, job.rows - 1)];
  });
  warp.Sync();
}

// The lines of one stripe. That words are missing shows at the end: EndsRight.
template <DType kDType, bool kFull, typename Warp>
NWC_DEVICE_INLINE void DecodeStripe(Warp& warp, const StreamJob& job, const StreamLine& line,
                                    uint32_t stripe, WordRing& words, StreamWarpMemory* memory) {
  using Stage = LineStage<typename ElementOf<kDType>::Bits>;
  constexpr uint32_t kLines = Stage::kLines;
  warp.Each([&](StreamLane& lane, int id) {
    const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(id));
    lane.active = kFull || column < job.columns;
    lane.trellis = 0;
    const LineFacts facts = lane.active ? job.column_facts[column] : LineFacts{};
    lane.column_factor = facts.factor;
    lane.column_table = facts.table - line.tables.low();
    lane.next_row = job.row_facts[Least(static_cast<uint32_t>(id) % kLines, job.rows - 1)];
  });
  for (uint32_t row = 0; row < job.rows; row += kLines) {
    NextRows<kLines>(warp, job, row, memory);
    const uint32_t lines = Least(kLines, job.rows - row);
    if (lines == kLines) {
      NWC_UNROLL_BY(kStreamUnroll)
      for (uint32_t i = 0; i < kLines; ++i) {
        DecodeLine<kDType, kFull>(warp, line, i, words, memory);
      }
    } else {
      NWC_UNROLL_BY(1)
      for (uint32_t i = 0; i < lines; ++i) {
        DecodeLine<kDType, kFull>(warp, line, i, words, memory);
      }
    }
    StoreRows(warp, job, Stage(memory->stage), stripe, row, row + lines - 1);
  }
}

// Returns 0 or the rule that the chunk breaks, found in the order in which the host's decoder
// looks.
template <DType kDType, typename Warp>
NWC_DEVICE uint32_t DecodeStreamChunk(Warp& warp, const StreamJob& job, const StreamBlock& block,
                                      const TableWindow& tables, StreamWarpMemory* memory) {
  using Bits = typename ElementOf<kDType>::Bits;
  StreamParts parts;
  if (!CutStreamChunk(job, block, sizeof(Bits), &parts)) return 23;
  if (!IdsAscendBelow<uint16_t>(warp, job.bytes + parts.column_ids_at, parts.exact_columns,
                                job.columns) ||
      !IdsAscendBelow<uint32_t>(warp, job.bytes + parts.patch_ids_at, parts.patches,
                                job.rows * job.columns)) {
    return 25;
  }
  if (!LoadStates(warp, job.bytes + kStreamStatesAt)) return 26;
  if (static_cast<uint32_t>(block.bucket_bits) < job.min_bucket_bits) return 24;
  WordRing words(job, parts.words_at, parts.words, memory->ring);
  words.Begin(warp);
  const StreamLine line = {tables, {job.next[0], job.next[1]}, job.offset1, job.offset2};
  const uint32_t full = job.columns / kWarpLanes * kWarpLanes;
  for (uint32_t stripe = 0; stripe < full; stripe += kWarpLanes) {
    DecodeStripe<kDType, true>(warp, job, line, stripe, words, memory);
  }
  if (full < job.columns) DecodeStripe<kDType, false>(warp, job, line, full, words, memory);
  if (!EndsRight(warp, words)) return 26;
  OverwriteExactly<Bits>(warp, job, parts);
  return 0;
}

}  // namespace nwc
