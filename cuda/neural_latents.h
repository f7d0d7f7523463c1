// The entropy-coded part of an `nwc` chunk by one warp (spec/codec.md section 12): latents into
// memory, for the net to read, and the chunks that are stored exactly. The layout of the chunk is
// that of format/neural_chunk.h.
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"
#include "cuda/tile_writer.h"
#include "cuda/word_ring.h"

namespace nwc {

struct NeuralLane : RansLane {
  const LatentTable* tables;  // of the quality of the lane's column
  int16_t* values;            // of the lane's vector
  uint32_t symbol;
};

// Shared memory of one warp.
struct NeuralWarpMemory {
  alignas(16) uint8_t ring[WordRing::kBytes];
};

struct NeuralParts {
  uint32_t words, escapes, exact_chunks;
  uint32_t words_at, escapes_at, chunk_ids_at, chunk_values_at;
};

inline constexpr uint32_t kNeuralStatesAt = 12;
inline constexpr uint32_t kNeuralWordsAt = 140;

NWC_DEVICE_INLINE uint32_t ChunkRows(const NeuralJob& job) {
  return job.rows / job.net.chunk + (job.rows % job.net.chunk != 0);
}

// R36 but for the size of chunk_values and what follows them, which take the ids to know.
NWC_DEVICE_INLINE bool CutNeuralChunk(const NeuralJob& job, NeuralParts* parts) {
  if (job.size_bytes < kNeuralWordsAt || job.size_bytes % 4 != 0) return false;
  NeuralParts& p = *parts;
  p.words = LoadAligned<uint32_t>(job.bytes);
  p.escapes = LoadAligned<uint32_t>(job.bytes + 4);
  p.exact_chunks = LoadAligned<uint32_t>(job.bytes + 8);
  const uint32_t chunks = ChunkRows(job) * job.columns;
  if (p.escapes > chunks * job.net.latents || p.exact_chunks > chunks) return false;
  PartCutter cutter(job, kNeuralWordsAt);
  return cutter.Take(uint64_t{p.words} * 2, &p.words_at) &&
         cutter.Take(uint64_t{p.escapes} * 2, &p.escapes_at) && cutter.Pad() &&
         cutter.Take(uint64_t{p.exact_chunks} * 4, &p.chunk_ids_at) &&
         cutter.Take(0, &p.chunk_values_at);
}

// How many of the first `ids` exact chunks lie in the last chunk row, which may be shorter. Ids
// ascend, so these are the last ones.
NWC_DEVICE_INLINE uint32_t IdsInLastChunkRow(const NeuralJob& job, const NeuralParts& p) {
  const uint32_t first = (ChunkRows(job) - 1) * job.columns;
  uint32_t low = 0, high = p.exact_chunks;
  while (low < high) {
    const uint32_t middle = low + (high - low) / 2;
    const bool before = LoadAligned<uint32_t>(job.bytes + p.chunk_ids_at + 4 * middle) < first;
    (before ? low : high) = before ? middle + 1 : middle;
  }
  return p.exact_chunks - low;
}

// The rest of R36.
NWC_DEVICE_INLINE bool ExactChunksFit(const NeuralJob& job, const NeuralParts& p,
                                      uint32_t element_bytes) {
  const uint32_t last_rows = job.rows - (ChunkRows(job) - 1) * job.net.chunk;
  const uint64_t weights = uint64_t{p.exact_chunks} * job.net.chunk -
                           uint64_t{IdsInLastChunkRow(job, p)} * (job.net.chunk - last_rows);
  uint32_t values_at;
  PartCutter cutter(job, p.chunk_values_at);
  return cutter.Take(weights * element_bytes, &values_at) && cutter.Pad() && cutter.done();
}

// The lines of one stripe; returns 0, 26 or 37. *escape counts the escapes taken.
template <typename Warp>
NWC_DEVICE_INLINE uint32_t DecodeLatentStripe(Warp& warp, const NeuralJob& job,
                                              const NeuralParts& parts, uint32_t stripe,
                                              WordRing& words, uint32_t* escape) {
  const uint32_t latents = job.net.latents;
  warp.Each([&](NeuralLane& lane, int id) {
    const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(id));
    lane.active = column < job.columns;
    if (!lane.active) return;
    lane.tables = job.tables + job.column_quality[column] * latents;
    lane.values = job.latent_values + size_t{column} * latents;
  });
  const uint32_t chunk_rows = ChunkRows(job);
  for (uint32_t row = 0; row < chunk_rows; ++row) {
    for (uint32_t l = 0; l < latents; ++l) {
      warp.Each([&](NeuralLane& lane, int) {
        lane.bad = false;  // here: holds an escape
        if (!lane.active) return;
        const LatentTable table = lane.tables[l];
        const uint32_t symbol = DecodeWideSymbol(job.buckets + table.first_bucket,
                                                 static_cast<int>(table.bucket_bits), &lane.x);
        lane.bad = symbol == table.escape;
        lane.values[l] = static_cast<int16_t>(table.lowest + static_cast<int32_t>(symbol));
      });
      words.Renormalize(warp);
      if (words.overrun()) return 26;
      const uint32_t escapes = warp.Ballot([](const NeuralLane& lane) { return lane.bad; });
      if (escapes == 0) continue;
      if (CountOnes(escapes) > parts.escapes - *escape) return 37;
      warp.Each([&](NeuralLane& lane, int id) {
        if (!lane.bad) return;
        const uint32_t number = *escape + RankInMask(escapes, id);
        lane.values[l] = LoadAligned<int16_t>(job.bytes + parts.escapes_at + 2 * number);
      });
      *escape += CountOnes(escapes);
    }
    warp.Each([&](NeuralLane& lane, int) {
      if (lane.active) lane.values += size_t{job.columns} * latents;
    });
  }
  return 0;
}

// Latents of the tile into job.latent_values. Returns 0 or the rule that the chunk breaks.
template <typename Warp>
NWC_DEVICE uint32_t DecodeLatents(Warp& warp, const NeuralJob& job, uint32_t element_bytes,
                                  NeuralWarpMemory* memory) {
  NeuralParts parts;
  if (!CutNeuralChunk(job, &parts)) return 36;
  if (!IdsAscendBelow<uint32_t>(warp, job.bytes + parts.chunk_ids_at, parts.exact_chunks,
                                ChunkRows(job) * job.columns)) {
    return 25;
  }
  if (!ExactChunksFit(job, parts, element_bytes)) return 36;
  if (!LoadStates(warp, job.bytes + kNeuralStatesAt)) return 26;
  WordRing words(job, parts.words_at, parts.words, memory->ring);
  words.Begin(warp);
  uint32_t escape = 0;
  for (uint32_t stripe = 0; stripe < job.columns; stripe += kWarpLanes) {
    const uint32_t rule = DecodeLatentStripe(warp, job, parts, stripe, words, &escape);
    if (rule != 0) return rule;
  }
  if (!EndsRight(warp, words)) return 26;
  return escape == parts.escapes ? 0 : 37;
}

// The chunks that are stored exactly, over what the net made of them. DecodeLatents returned 0.
template <typename Bits, typename Warp>
NWC_DEVICE void OverwriteExactChunks(Warp& warp, const NeuralJob& job) {
  NeuralParts parts;
  if (!CutNeuralChunk(job, &parts)) return;
  const uint32_t chunk = job.net.chunk;
  warp.Each([&](auto&, int id) {
    for (auto i = static_cast<uint32_t>(id); i < parts.exact_chunks; i += kWarpLanes) {
      const uint32_t at = LoadAligned<uint32_t>(job.bytes + parts.chunk_ids_at + 4 * i);
      const uint32_t row = at / job.columns * chunk;
      // All chunks before it are whole, or it is in the last chunk row with those before it there.
      const uint32_t rows = Least(chunk, job.rows - row);
      const uint32_t last_first = (ChunkRows(job) - 1) * job.columns;
      const uint32_t in_last = IdsInLastChunkRow(job, parts);
      const uint32_t before = parts.exact_chunks - in_last;
      const uint32_t first = at < last_first ? i * chunk : before * chunk + (i - before) * rows;
      const uint8_t* const values = job.bytes + parts.chunk_values_at;
      for (uint32_t k = 0; k < rows; ++k) {
        StoreInWindow(job, row + k, at % job.columns,
                      LoadAligned<Bits>(values + sizeof(Bits) * (first + k)));
      }
    }
  });
}

}  // namespace nwc
