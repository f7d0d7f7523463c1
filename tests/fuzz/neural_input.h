// How fuzz inputs for `nwc` chunks are read: two bytes choose the tile, the rest is the chunk.
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <vector>

#include "format/format.h"

namespace nwc {

// A codec with tables of 2, 9, 65 and 600 symbols and a net of small random numbers.
inline NeuralCodec MakeNeuralCodec(const NeuralSettings& settings, uint32_t seed) {
  std::mt19937 rng(seed);
  const auto numbers = [&rng](size_t count, float middle) {
    std::vector<float> values(count);
    for (float& v : values) {
      v = middle + static_cast<float>(static_cast<int>(rng() % 257) - 128) / 512.0f;
    }
    return values;
  };
  NeuralCodec codec;
  static_cast<NeuralSettings&>(codec) = settings;
  codec.name = "made";
  const size_t width = codec.width;
  codec.in_weight = numbers(width * codec.latents, 0);
  codec.in_bias = numbers(width, 0);
  for (int b = 0; b < codec.blocks; ++b) {
    codec.block.push_back({numbers(width * width, 0), numbers(width, 0), numbers(width, 1),
                           numbers(width, 0), numbers(width * codec.qualities, 1)});
  }
  codec.out_weight = numbers(codec.chunk * width, 0);
  codec.out_bias = numbers(codec.chunk, 0);
  constexpr size_t kSymbols[] = {9, 2, 65, 600};
  for (size_t i = 0; i < codec.table_count(); ++i) {
    const size_t symbols = kSymbols[i % 4];
    NeuralTable table;
    table.lowest = static_cast<int16_t>(-static_cast<int>(symbols / 2));
    table.frequencies.assign(symbols, static_cast<uint16_t>(kProbabilityScale / symbols / 2));
    table.frequencies[symbols / 2 - 1] = static_cast<uint16_t>(
        table.frequencies[0] + kProbabilityScale - symbols * table.frequencies[0]);
    codec.tables.push_back(std::move(table));
  }
  return codec;
}

struct NeuralCase {
  TensorInfo tensor;
  NeuralSideInfo side;
  std::shared_ptr<const NeuralDecodeCodec> codec;
};

// A tile of rows × columns (1 … 64 each) with columns of both qualities.
inline NeuralCase MakeNeuralCase(uint8_t first, uint8_t second) {
  static const auto codec = std::make_shared<const NeuralDecodeCodec>(
      MakeNeuralCodec({.chunk = 4, .latents = 3, .width = 8, .blocks = 1, .qualities = 2}, 1));
  NeuralCase c;
  c.tensor.rows = c.tensor.tile_rows = 1 + first % 64u;
  c.tensor.columns = c.tensor.tile_columns = 1 + second % 64u;
  c.tensor.shape = {c.tensor.rows, c.tensor.columns};
  c.tensor.dtype = first & 0x40 ? DType::kF32 : (second & 0x40 ? DType::kF16 : DType::kBF16);
  c.tensor.profile_value = static_cast<uint8_t>(Profile::kNwc);
  c.tensor.neural.emplace().scale = first & 0x80 ? 0x1p14f : 0.03f;
  for (uint64_t i = 0; i < c.tensor.columns; ++i) {
    c.side.column_scale.push_back(static_cast<int16_t>(i % 7));
    c.side.column_quality.push_back(static_cast<uint8_t>(second & 0x80 ? 1 : i % 2));
  }
  c.codec = codec;
  return c;
}

// Random latents for it; now and then one that escapes. With `exact` two chunks are exact.
inline NeuralTile MakeNeuralTile(const TensorInfo& tensor, const NeuralSettings& settings,
                                 bool exact, uint32_t seed) {
  std::mt19937 rng(seed);
  NeuralTile tile;
  tile.rows = static_cast<uint32_t>(tensor.rows);
  tile.columns = static_cast<uint32_t>(tensor.columns);
  const uint64_t chunks = DivideRoundingUp(tile.rows, settings.chunk) * tile.columns;
  for (uint64_t i = 0; i < chunks * settings.latents; ++i) {
    const int reach = rng() % 64 == 0 ? 65536 : 7;
    tile.latents.push_back(
        static_cast<int16_t>(static_cast<int>(rng() % static_cast<uint32_t>(reach)) - reach / 2));
  }
  if (!exact) return tile;
  tile.exact_chunks = {0};
  if (chunks > 1) tile.exact_chunks.push_back(static_cast<uint32_t>(chunks - 1));
  size_t weights = 0;
  for (const uint32_t id : tile.exact_chunks) {
    weights += std::min<size_t>(settings.chunk, tile.rows - id / tile.columns * settings.chunk);
  }
  tile.exact_values.assign(weights * DTypeSize(tensor.dtype), 0x33);
  return tile;
}

}  // namespace nwc
