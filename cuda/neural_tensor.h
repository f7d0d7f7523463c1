// The net of an `nwc` codec on tensor cores: factors rounded to BF16, sums and everything else in
// binary32, within the tolerance that spec/codec.md section 11 sets for that.
//
// A block takes kTensorVectors vectors through the whole net. A product H = W · X is cut into tiles
// of 16 outputs × 8 vectors, which mma.m16n8k16 makes from 16 inputs at a time. Each warp has up to
// kTensorRows rows of tiles; x stays in its registers from block to block, in the layout in which
// the tensor core leaves sums, and goes through shared memory as BF16 to be the next factor. With
// g = lane / 4 and t = lane % 4 (PTX, "Matrix Fragments for mma.m16n8k16"):
//
//   A, weights      outputs g and g + 8, inputs 2t, 2t + 1, 2t + 8, 2t + 9: one 16-byte load,
//   packed
//                   tile by tile as [input tile][output tile][lane]
//   B, activations  the same inputs of vector g; in shared memory as [vector][feature]
//   C, sums         outputs g and g + 8 of vectors 2t and 2t + 1
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"
#include "cuda/neural_net.h"

namespace nwc {

inline constexpr uint32_t kTensorVectors = 32;
inline constexpr int kTensorWarps = 8;
inline constexpr uint32_t kTensorTile = 16;  // outputs or inputs of a tile
inline constexpr uint32_t kTensorRows = 4;   // of tiles, a warp
inline constexpr uint32_t kTensorColumns = kTensorVectors / 8;
inline constexpr uint32_t kMaxTensorWidth = kTensorTile * kTensorRows * kTensorWarps;
// Features of a vector in shared memory: 8 more keep the lanes' loads in different banks.
inline constexpr uint32_t kTensorStride = kMaxTensorWidth + 8;
inline constexpr uint32_t kTensorPartials = 8 * kTensorWarps;

// What it can run.
inline bool FitsTensorCores(uint32_t chunk, uint32_t latents, uint32_t width) {
  return chunk <= kTensorTile && latents <= kTensorTile && width % kTensorTile == 0 &&
         width <= kMaxTensorWidth;
}

struct TensorSums {
  float value[kTensorColumns][4];
};

struct TensorLane {
  TensorSums x[kTensorRows], h[kTensorRows];
  Vector16 a;
  uint32_t b[kTensorColumns][2];
};

// Shared memory of a block.
struct TensorMemory {
  alignas(16) uint8_t x[2 * kTensorVectors * kTensorStride];  // BF16
  float partial[kTensorPartials][kTensorVectors];
  float mean[kTensorVectors];
  float inverse[kTensorVectors];
  uint32_t quality[kTensorVectors];
};

NWC_DEVICE_INLINE void StoreActivation(TensorMemory* memory, uint32_t vector, uint32_t feature,
                                       float value) {
  StoreAligned(memory->x + 2 * (vector * kTensorStride + feature), FloatToBFloat16(value));
}

// Output and vector of register i of tile column c in the tile row that begins at `output`.
NWC_DEVICE_INLINE uint32_t OutputOf(uint32_t output, int id, uint32_t i) {
  return output + static_cast<uint32_t>(id) / 4 + (i >= 2 ? 8 : 0);
}
NWC_DEVICE_INLINE uint32_t VectorOf(uint32_t c, int id, uint32_t i) {
  return 8 * c + 2 * (static_cast<uint32_t>(id) % 4) + i % 2;
}
// First output of a warp's tile row r.
NWC_DEVICE_INLINE uint32_t FirstOutput(int warp, uint32_t r) {
  return kTensorTile * (static_cast<uint32_t>(warp) + kTensorWarps * r);
}

// step(sum, output, vector) for each of the lane's sums of existing outputs.
template <typename Step>
NWC_DEVICE_INLINE void ForEachSum(TensorSums* sums, uint32_t outputs, int warp, int id,
                                  const Step& step) {
  NWC_UNROLL
  for (uint32_t r = 0; r < kTensorRows; ++r) {
    const uint32_t first = FirstOutput(warp, r);
    if (first >= outputs) continue;
    NWC_UNROLL
    for (uint32_t c = 0; c < kTensorColumns; ++c) {
      NWC_UNROLL
      for (uint32_t i = 0; i < 4; ++i) {
        step(sums[r].value[c][i], OutputOf(first, id, i), VectorOf(c, id, i));
      }
    }
  }
}

// sums += weights · activations. `outputs` and `inputs` are whole tiles.
template <TensorSums (TensorLane::*kSums)[kTensorRows], typename Block>
NWC_DEVICE_INLINE void MultiplyTiles(Block& block, const Vector16* weights, uint32_t inputs,
                                     uint32_t outputs, const TensorMemory* memory) {
  const uint32_t output_tiles = outputs / kTensorTile;
  for (uint32_t k = 0; k < inputs / kTensorTile; ++k) {
    block.Do([&](TensorLane& lane, int, int id) {
      const auto g = static_cast<uint32_t>(id) / 4, t = static_cast<uint32_t>(id) % 4;
      NWC_UNROLL
      for (uint32_t c = 0; c < kTensorColumns; ++c) {
        const uint8_t* const x =
            memory->x + 2 * ((8 * c + g) * kTensorStride + kTensorTile * k + 2 * t);
        lane.b[c][0] = LoadAligned<uint32_t>(x);
        lane.b[c][1] = LoadAligned<uint32_t>(x + 16);
      }
    });
    NWC_UNROLL
    for (uint32_t r = 0; r < kTensorRows; ++r) {
      const auto has_row = [&](int warp) { return FirstOutput(warp, r) < outputs; };
      block.Do([&](TensorLane& lane, int warp, int id) {
        if (!has_row(warp)) return;
        const uint32_t tile = k * output_tiles + FirstOutput(warp, r) / kTensorTile;
        lane.a = weights[tile * kWarpLanes + static_cast<uint32_t>(id)];
      });
      NWC_UNROLL
      for (uint32_t c = 0; c < kTensorColumns; ++c) {
        block.Multiply(
            has_row, [&](const TensorLane& lane) { return lane.b[c]; },
            [&](TensorLane& lane) { return (lane.*kSums)[r].value[c]; });
      }
    }
  }
}

template <TensorSums (TensorLane::*kSums)[kTensorRows], typename Block>
NWC_DEVICE_INLINE void StartFromBias(Block& block, const float* bias, uint32_t tile_outputs,
                                     uint32_t outputs) {
  block.Do([&](TensorLane& lane, int warp, int id) {
    ForEachSum(lane.*kSums, tile_outputs, warp, id,
               [&](float& sum, uint32_t o, uint32_t) { sum = o < outputs ? bias[o] : 0.0f; });
  });
}

// Sums of what `term` makes of each h, by vector: `finish(vector, sum)` runs once a vector.
template <typename Block, typename Term, typename Finish>
NWC_DEVICE_INLINE void ReduceOverOutputs(Block& block, uint32_t width, TensorMemory* memory,
                                         const Term& term, const Finish& finish) {
  block.Each([&](TensorLane& lane, int warp, int id) {
    float sums[kTensorColumns][2] = {};
    ForEachSum(lane.h, width, warp, id, [&](float& h, uint32_t, uint32_t vector) {
      sums[vector / 8][vector % 2] += term(h, vector);
    });
    const uint32_t row = 8 * static_cast<uint32_t>(warp) + static_cast<uint32_t>(id) / 4;
    NWC_UNROLL
    for (uint32_t c = 0; c < kTensorColumns; ++c) {
      NWC_UNROLL
      for (uint32_t i = 0; i < 2; ++i) memory->partial[row][VectorOf(c, id, i)] = sums[c][i];
    }
  });
  block.Each([&](TensorLane&, int warp, int id) {
    if (warp != 0) return;
    float sum = 0;
    for (uint32_t p = 0; p < kTensorPartials; ++p) sum += memory->partial[p][id];
    finish(static_cast<uint32_t>(id), sum);
  });
}

// One block of the net: x = (x + relu(LayerNorm(W · x + b))) ⊙ e[quality]. `p`: its bias and what
// follows, as in NeuralNet::parameters.
template <typename Block>
NWC_DEVICE_INLINE void RunTensorBlock(Block& block, const NeuralNet& net, const Vector16* weights,
                                      const float* p, TensorMemory* memory) {
  const uint32_t width = net.width;
  StartFromBias<&TensorLane::h>(block, p, width, width);
  MultiplyTiles<&TensorLane::h>(block, weights, width, width, memory);
  const auto count = static_cast<float>(width);
  ReduceOverOutputs(
      block, width, memory, [](float h, uint32_t) { return h; },
      [&](uint32_t vector, float sum) { memory->mean[vector] = sum / count; });
  ReduceOverOutputs(
      block, width, memory,
      [&](float& h, uint32_t vector) {
        h -= memory->mean[vector];
        return h * h;
      },
      [&](uint32_t vector, float sum) {
        memory->inverse[vector] = 1.0f / sqrtf(sum / count + kNetEpsilon);
      });
  block.Each([&](TensorLane& lane, int warp, int id) {
    NWC_UNROLL
    for (uint32_t r = 0; r < kTensorRows; ++r) {
      const uint32_t first = FirstOutput(warp, r);
      if (first >= width) continue;
      NWC_UNROLL
      for (uint32_t c = 0; c < kTensorColumns; ++c) {
        NWC_UNROLL
        for (uint32_t i = 0; i < 4; ++i) {
          const uint32_t o = OutputOf(first, id, i), v = VectorOf(c, id, i);
          const float z =
              fmaf(lane.h[r].value[c][i] * memory->inverse[v], p[width + o], p[2 * width + o]);
          float& x = lane.x[r].value[c][i];
          x = (x + (z > 0 ? z : 0.0f)) * p[(3 + memory->quality[v]) * width + o];
          StoreActivation(memory, v, o, x);
        }
      }
    }
  });
}

// Vectors first … of the job, at most kTensorVectors.
template <DType kDType, typename Block>
NWC_DEVICE void RunTensorGroup(Block& block, const NeuralJob& job, const NetGroup& group,
                               TensorMemory* memory) {
  const NeuralNet& net = job.net;
  const uint32_t width = net.width;
  block.Each([&](TensorLane&, int warp, int id) {
    const auto thread = static_cast<uint32_t>(warp * kWarpLanes + id);
    constexpr uint32_t kThreads = kTensorWarps * kWarpLanes;
    for (uint32_t at = thread; at < kTensorVectors * kTensorTile; at += kThreads) {
      const uint32_t v = at / kTensorTile, l = at % kTensorTile;
      const bool there = v < group.count && l < net.latents;
      const size_t from = size_t{group.first + v} * net.latents + l;
      StoreActivation(memory, v, l, there ? job.latent_values[from] : 0.0f);
      if (l == 0) {
        memory->quality[v] =
            v < group.count ? job.column_quality[(group.first + v) % job.columns] : 0;
      }
    }
  });
  const Vector16* weights = net.tensor_weights;
  const float* p = net.parameters + size_t{net.latents} * width;
  const size_t tile_lanes = size_t{width} / kTensorTile * kWarpLanes;
  StartFromBias<&TensorLane::x>(block, p, width, width);
  MultiplyTiles<&TensorLane::x>(block, weights, kTensorTile, width, memory);
  block.Barrier();
  block.Each([&](TensorLane& lane, int warp, int id) {
    ForEachSum(lane.x, width, warp, id,
               [&](float& x, uint32_t o, uint32_t v) { StoreActivation(memory, v, o, x); });
  });
  weights += tile_lanes;
  p += width;
  for (uint32_t b = 0; b < net.blocks; ++b) {
    p += size_t{width} * width;
    RunTensorBlock(block, net, weights, p, memory);
    weights += tile_lanes * (width / kTensorTile);
    p += size_t{width} * (3 + net.qualities);
  }
  p += size_t{width} * net.chunk;
  StartFromBias<&TensorLane::h>(block, p, kTensorTile, net.chunk);
  MultiplyTiles<&TensorLane::h>(block, weights, width, kTensorTile, memory);
  block.Each([&](TensorLane& lane, int warp, int id) {
    ForEachSum(lane.h, kTensorTile, warp, id, [&](float& g, uint32_t k, uint32_t v) {
      const uint32_t vector = group.first + v;
      const uint32_t row = vector / job.columns * net.chunk + k;
      if (v >= group.count || k >= net.chunk || row >= job.rows) return;
      const uint32_t column = vector % job.columns;
      StoreInWindow(job, row, column, NetElement<kDType>(g, job.column_factors[column]));
    });
  });
}

}  // namespace nwc
