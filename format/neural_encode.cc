// The encoding half of spec/codec.md section 12. Decoding order is recorded forwards, then coded
// backwards.
#include <algorithm>

#include "format/chunk_parts.h"
#include "format/neural_chunk.h"
#include "format/neural_lines.h"

namespace nwc {
namespace {

struct CodedSymbol {
  uint8_t lane, quality, latent;
  uint16_t symbol;
};

Status CheckTile(const NeuralTile& tile, size_t element_bytes,
                 std::span<const uint8_t> column_quality, const NeuralSettings& settings) {
  const auto unfit = [](const char* what) {
    return Status(ErrorCode::kUsage, std::string("nwc tile: ") + what);
  };
  const uint64_t weights = uint64_t{tile.rows} * tile.columns;
  if (weights == 0 || weights > kMaxStreamTileWeights || tile.columns > kMaxStreamTileColumns) {
    return unfit("empty or too large");
  }
  const uint64_t chunks = DivideRoundingUp(tile.rows, settings.chunk) * tile.columns;
  if (tile.latents.size() != chunks * settings.latents || column_quality.size() != tile.columns) {
    return unfit("latents or qualities do not fit its shape");
  }
  for (const uint8_t q : column_quality) {
    if (q >= settings.qualities) return unfit("a quality that the codec does not have");
  }
  uint64_t next = 0, exact_weights = 0;
  for (const uint32_t id : tile.exact_chunks) {
    if (id < next || id >= chunks) return unfit("exact chunks out of order or outside");
    next = uint64_t{id} + 1;
    exact_weights +=
        std::min<uint64_t>(settings.chunk, tile.rows - id / tile.columns * settings.chunk);
  }
  if (tile.exact_values.size() != exact_weights * element_bytes) {
    return unfit("exact values do not fit the exact chunks");
  }
  return {};
}

// All symbols in decoding order; latents without a symbol of their own go to `escapes`.
std::vector<CodedSymbol> DecodingOrder(const NeuralTile& tile,
                                       std::span<const uint8_t> column_quality,
                                       const NeuralEncodeTables& tables,
                                       std::vector<int16_t>* escapes) {
  const size_t latents = tables.settings().latents;
  const size_t chunk_rows = tile.latents.size() / latents / tile.columns;
  std::vector<CodedSymbol> order;
  order.reserve(tile.latents.size());
  for (size_t stripe = 0; stripe < tile.columns; stripe += kLanes) {
    for (size_t row = 0; row < chunk_rows; ++row) {
      for (size_t l = 0; l < latents; ++l) {
        for (int lane = 0; lane < kLanes; ++lane) {
          const size_t column = stripe + static_cast<size_t>(LanePosition(lane));
          if (column >= tile.columns) continue;
          const uint8_t quality = column_quality[column];
          const NeuralEncodeTables::Table& table = tables.table(quality, l);
          const int16_t value = tile.latents[(row * tile.columns + column) * latents + l];
          int symbol = value - table.lowest;
          if (symbol < 0 || symbol >= table.escape) {
            symbol = table.escape;
            escapes->push_back(value);
          }
          order.push_back({static_cast<uint8_t>(lane), quality, static_cast<uint8_t>(l),
                           static_cast<uint16_t>(symbol)});
        }
      }
    }
  }
  return order;
}

// Words come out last first; returns them in reading order.
std::vector<uint16_t> CodeBackwards(const std::vector<CodedSymbol>& order,
                                    const NeuralEncodeTables& tables, LaneStates* states) {
  std::vector<uint16_t> words;
  words.reserve(order.size() / 3);
  for (size_t i = order.size(); i-- > 0;) {
    const CodedSymbol& c = order[i];
    EncodeSymbol(tables.table(c.quality, c.latent).symbols, c.symbol, &(*states)[c.lane], &words);
  }
  std::reverse(words.begin(), words.end());
  return words;
}

}  // namespace

Result<std::vector<uint8_t>> EncodeNeuralChunk(const NeuralTile& tile, DType dtype,
                                               std::span<const uint8_t> column_quality,
                                               const NeuralEncodeTables& tables) {
  NWC_RETURN_IF_ERROR(CheckTile(tile, DTypeSize(dtype), column_quality, tables.settings()));
  std::vector<int16_t> escapes;
  const auto order = DecodingOrder(tile, column_quality, tables, &escapes);
  LaneStates states = InitialLaneStates();
  const auto words = CodeBackwards(order, tables, &states);
  std::vector<uint8_t> out(kNeuralHeaderBytes, 0);
  StoreLittle(&out[0], static_cast<uint32_t>(words.size()));
  StoreLittle(&out[4], static_cast<uint32_t>(escapes.size()));
  StoreLittle(&out[8], static_cast<uint32_t>(tile.exact_chunks.size()));
  std::memcpy(&out[12], states.data(), sizeof states);
  AppendAll(std::span<const uint16_t>(words), &out);
  AppendAll(std::span<const int16_t>(escapes), &out);
  PadChunk(&out);
  AppendAll(std::span<const uint32_t>(tile.exact_chunks), &out);
  AppendAll(std::span<const uint8_t>(tile.exact_values), &out);
  PadChunk(&out);
  return out;
}

}  // namespace nwc
