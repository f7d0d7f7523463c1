// What one launch of a decode kernel works on: plain values, the same on host and device. Every
// pointer is into the memory of the device that runs the launch. The bytes of a chunk may be
// anything, all else in a job must be true: buffers have the sizes their fields imply.
#pragma once

#include <cstdint>

#include "cuda/device_code.h"
#include "format/dtype.h"
#include "format/freq_table.h"

namespace nwc {

// The part of a tile that is wanted: half-open ranges of its own rows and columns. Nothing else is
// stored.
struct TileWindow {
  uint32_t row_begin, row_end;
  uint32_t column_begin, column_end;
};

struct ChunkJob {
  const uint8_t* bytes;  // at a multiple of 4
  uint32_t size_bytes;
  uint32_t rows, columns;  // of the tile
  TileWindow window;
  uint8_t* out;  // of the window's first element, at a multiple of the element's size
  uint64_t row_stride_bytes;
  uint32_t* rule;  // becomes 0, or the rule of spec/format.md that the chunk breaks
};

// A row's step and table code, or a column's factor and table code (spec/codec.md section 5).
struct alignas(8) LineFacts {
  float factor;
  int32_t table;
};

struct StreamJob : ChunkJob {
  const LineFacts* row_facts;     // rows
  const LineFacts* column_facts;  // columns
  uint32_t min_bucket_bits;       // fewer break R24
  // The trellis: for parity p and state s the nibble s of next[p], with q of the new state in its
  // top bit; rotated left by 2, so that 4s and 32q come out in their places.
  uint32_t next[2];
  int32_t offset1, offset2;
};

inline constexpr int kStreamWarps = 16;  // of a block at most, each with a chunk of its own

// The chunks of one block, all with the same tables. Those of window_low … window_low +
// window_count - 1 are copied into shared memory; chunks may meet others.
struct StreamBlock {
  const StreamJob* jobs;
  uint32_t job_count;         // 1 … kStreamWarps
  const AliasBucket* tables;  // table (t, q) of bucket_bits at (2t + q) << bucket_bits, all t
  int32_t bucket_bits;        // of every chunk; another in a chunk's header breaks R23
  int32_t window_low;
  int32_t window_count;  // at least 1
};

struct ExactJob : ChunkJob {};
inline constexpr int kExactWarps = 4;

// A codec of profile `nwc` on the device.
struct NeuralNet {
  uint32_t chunk, latents, width, blocks, qualities;
  // W_in [latents][width], b_in, blocks × (W [width][width], b, γ, β, e [qualities][width]),
  // W_out [width][chunk], b_out: matrices by input, so that threads of neighbouring outputs read
  // neighbouring words.
  const float* parameters;
  const Vector16* tensor_weights;  // matrices for tensor cores (neural_tensor.h), or null
};

struct LatentTable {
  uint32_t first_bucket;
  uint32_t bucket_bits;
  int32_t lowest;
  uint32_t escape;  // its symbol
};

struct NeuralJob : ChunkJob {
  const float* column_factors;    // columns
  const uint8_t* column_quality;  // columns, each below net.qualities
  const LatentTable* tables;      // [quality][latent]
  const AliasBucket* buckets;     // of all tables, as BuildWideAliasTable makes them
  int16_t* latent_values;         // [chunk row][column][latent], written by the first kernel
  NeuralNet net;
};
inline constexpr int kNeuralWarps = 4;

}  // namespace nwc
