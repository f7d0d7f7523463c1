// A `stream` chunk decoded by one warp, lane by lane as spec/codec.md sections 1-7 say. The layout
// of the chunk is that of format/stream_chunk.h.
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"
#include "cuda/tile_writer.h"
#include "cuda/word_ring.h"
#include "format/synthesis.h"

namespace nwc {

struct StreamLane : RansLane {
  uint32_t state;  // of the trellis; its top bit (8) is the quantiser
  LineFacts column;
};

// Shared memory of one warp.
struct alignas(16) StreamWarpMemory {
  uint8_t stage[kStageBytes];
  uint8_t ring[WordRing::kBytes];
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

// The lines of one stripe; false as soon as words are missing.
template <DType kDType, typename Warp>
NWC_DEVICE_INLINE bool DecodeStripe(Warp& warp, const StreamJob& job, const StreamBlock& block,
                                    const AliasBucket* tables, uint32_t stripe, WordRing& words,
                                    uint8_t* stage_memory) {
  using Bits = typename ElementOf<kDType>::Bits;
  const LineStage<Bits> stage(stage_memory);
  warp.Each([&](StreamLane& lane, int id) {
    const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(id));
    lane.active = column < job.columns;
    lane.state = 0;
    lane.column = lane.active ? job.column_facts[column] : LineFacts{};
  });
  uint32_t stored = 0;
  LineFacts row_facts = job.row_facts[0];
  for (uint32_t row = 0; row < job.rows; ++row) {
    const LineFacts facts = row_facts;
    if (row + 1 < job.rows) row_facts = job.row_facts[row + 1];  // long before it is needed
    warp.Each([&](StreamLane& lane, int id) {
      if (!lane.active) return;
      const int t =
          Least(Greatest(facts.table + lane.column.table, block.table_low), block.table_high);
      const int q = static_cast<int>(lane.state >> 3);
      const AliasBucket* const table =
          tables + (static_cast<uint32_t>(2 * (t - block.table_low) + q) << block.bucket_bits);
      const auto k = static_cast<int8_t>(DecodeSymbol(table, block.bucket_bits, &lane.x));
      const uint32_t nexts = (k & 1) != 0 ? block.next[1] : block.next[0];
      lane.state = nexts >> (4 * (lane.state & 7)) & 15;
      const int level = ReconstructionLevel(k, q, block.offset1, block.offset2);
      stage.Put(row, LanePosition(id),
                ElementBits<kDType>(Reconstruct(level, lane.column.factor, facts.factor)));
    });
    words.Renormalize(warp);
    if (words.overrun()) return false;
    if (LineStage<Bits>::Fills(row) || row + 1 == job.rows) {
      StoreRows(warp, job, stage, stripe, stored, row);
      stored = row + 1;
    }
  }
  return true;
}

// `tables` begins with those of block.table_low. Returns 0 or the rule that the chunk breaks, found
// in the order in which the host's decoder looks.
template <DType kDType, typename Warp>
NWC_DEVICE uint32_t DecodeStreamChunk(Warp& warp, const StreamJob& job, const StreamBlock& block,
                                      const AliasBucket* tables, StreamWarpMemory* memory) {
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
  for (uint32_t stripe = 0; stripe < job.columns; stripe += kWarpLanes) {
    if (!DecodeStripe<kDType>(warp, job, block, tables, stripe, words, memory->stage)) return 26;
  }
  if (!EndsRight(warp, words)) return 26;
  OverwriteExactly<Bits>(warp, job, parts);
  return 0;
}

}  // namespace nwc
