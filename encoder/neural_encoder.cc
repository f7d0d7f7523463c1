#include "encoder/neural_encoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "encoder/ldl.h"
#include "encoder/neural_band.h"
#include "encoder/neural_scales.h"

namespace nwc {
namespace {

constexpr uint64_t kBandRows = 64;

struct BandRange {
  uint64_t row_begin, row_end;
  uint64_t grid_row;
};

Status CheckInput(const NeuralModel& model, const NeuralEncodeInput& input) {
  NWC_RETURN_IF_ERROR(CheckNeuralModel(model));
  const TensorInfo& t = *input.tensor;
  const auto bad = [&](const std::string& what) {
    return Status(ErrorCode::kUsage, t.name + ": " + what);
  };
  if (!IsCodedFloat(t.dtype) || t.weights() == 0) return bad("not a matrix of floats");
  if (input.elements.size() != t.decoded_bytes()) return bad("elements do not fill the matrix");
  if (t.tile_rows % model.synthesis.chunk != 0 && t.tile_rows < t.rows) {
    return bad("tiles of " + std::to_string(t.tile_rows) + " rows cut chunks of " +
               std::to_string(model.synthesis.chunk) + " weights");
  }
  return {};
}

std::vector<int16_t> IdleLatents(const NeuralCodec& codec) {
  std::vector<int16_t> idle;
  for (const NeuralTable& table : codec.tables) {
    const auto likeliest = std::max_element(table.frequencies.begin(), table.frequencies.end() - 1);
    idle.push_back(static_cast<int16_t>(table.lowest + (likeliest - table.frequencies.begin())));
  }
  return idle;
}

// Whole chunks, never over the edge of a row of tiles.
std::vector<BandRange> CutBands(const TensorInfo& tensor, uint64_t chunk) {
  const uint64_t height = std::max(kBandRows / chunk, uint64_t{1}) * chunk;
  std::vector<BandRange> bands;
  for (uint64_t g = 0; g < tensor.grid_rows(); ++g) {
    const uint64_t begin = g * tensor.tile_rows;
    const uint64_t end = std::min(begin + tensor.tile_rows, tensor.rows);
    for (uint64_t row = begin; row < end; row += height) {
      bands.push_back({row, std::min(row + height, end), g});
    }
  }
  return bands;
}

// What the bands of a tensor write, before it is cut into tiles.
struct CodedMatrix {
  std::vector<BandRange> bands;
  std::vector<NeuralBandResult> results;
  std::vector<std::vector<int16_t>> latents;  // a band: [chunk row][column][latent]
};

// Moves one tile out of the coded matrix.
NeuralTile CutTile(const CodedMatrix& coded, const NeuralEncodeInput& input,
                   const NeuralSettings& settings, size_t number) {
  const TensorInfo& tensor = *input.tensor;
  const TileRange range = tensor.Tile(number);
  const size_t row_latents = tensor.columns * settings.latents;
  const size_t element = DTypeSize(tensor.dtype);
  NeuralTile tile;
  tile.rows = static_cast<uint32_t>(range.rows());
  tile.columns = static_cast<uint32_t>(range.columns());
  for (size_t b = 0; b < coded.bands.size(); ++b) {
    const BandRange& band = coded.bands[b];
    if (band.grid_row != number / tensor.grid_columns()) continue;
    for (size_t at = 0; at < coded.latents[b].size(); at += row_latents) {
      const int16_t* row = &coded.latents[b][at];
      tile.latents.insert(tile.latents.end(), row + range.column_begin * settings.latents,
                          row + range.column_end * settings.latents);
    }
    for (const auto& [chunk_row, column] : coded.results[b].exact_chunks) {
      if (column < range.column_begin || column >= range.column_end) continue;
      const uint64_t top = band.row_begin + uint64_t{chunk_row} * settings.chunk;
      const uint64_t tile_row = (top - range.row_begin) / settings.chunk;
      tile.exact_chunks.push_back(
          static_cast<uint32_t>(tile_row * tile.columns + column - range.column_begin));
      for (uint64_t j = top; j < std::min(top + settings.chunk, range.row_end); ++j) {
        const uint8_t* from = &input.elements[(j * tensor.columns + column) * element];
        tile.exact_values.insert(tile.exact_values.end(), from, from + element);
      }
    }
  }
  return tile;
}

CodedMatrix CodeBands(const NeuralBandContext& context, MutableByteSpan decoded, WorkerPool* pool) {
  const NeuralSettings& settings = context.synthesis->settings();
  CodedMatrix coded;
  coded.bands = CutBands(*context.tensor, settings.chunk);
  coded.results.resize(coded.bands.size());
  coded.latents.resize(coded.bands.size());
  pool->ParallelFor(coded.bands.size(), [&](size_t b) {
    const BandRange& band = coded.bands[b];
    const uint64_t chunk_rows = DivideRoundingUp(band.row_end - band.row_begin, settings.chunk);
    coded.latents[b].resize(chunk_rows * context.tensor->columns * settings.latents);
    coded.results[b] =
        CodeNeuralBand(context, band.row_begin, band.row_end, coded.latents[b].data(), decoded);
  });
  return coded;
}

}  // namespace

std::vector<uint8_t> ChooseQualities(const float* moment, uint64_t columns,
                                     const std::vector<double>& shares, int qualities) {
  std::vector<uint8_t> quality(columns, 0);
  if (moment == nullptr) return quality;
  std::vector<uint64_t> order(columns);
  std::iota(order.begin(), order.end(), uint64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](uint64_t a, uint64_t b) {
    return moment[a * columns + a] > moment[b * columns + b];
  });
  double share = 0;
  uint64_t next = 0;
  for (size_t level = 0; level < shares.size(); ++level) {
    share += shares[level];
    const int above_rest = static_cast<int>(shares.size() - level);
    const auto end = std::min(
        columns, static_cast<uint64_t>(std::llround(share * static_cast<double>(columns))));
    for (; next < end; ++next) {
      quality[order[next]] = static_cast<uint8_t>(std::min(above_rest, qualities - 1));
    }
  }
  return quality;
}

Result<NeuralEncoding> EncodeNeural(const NeuralModel& model, const NeuralEncodeInput& input,
                                    WorkerPool* pool) {
  NWC_RETURN_IF_ERROR(CheckInput(model, input));
  const TensorInfo& tensor = *input.tensor;
  std::vector<float> feedback;
  if (input.input_moment != nullptr && input.feedback) {
    const std::span moment(input.input_moment, tensor.columns * tensor.columns);
    NWC_ASSIGN_OR_RETURN(
        feedback, BlockFeedback(moment, tensor.columns, kNeuralFeedbackBlock, input.damping, pool));
  }
  NeuralEncoding encoding;
  {
    std::vector<float> values(tensor.weights());
    ToFloat(tensor.dtype, input.elements.data(), values.size(), values.data());
    NeuralScales scales = ChooseNeuralScales(values, tensor.rows, tensor.columns);
    encoding.scale = scales.scale;
    encoding.side.column_scale = std::move(scales.column_code);
  }
  encoding.side.column_quality = ChooseQualities(input.input_moment, tensor.columns,
                                                 input.quality_shares, model.synthesis.qualities);
  std::vector<float> factors;
  for (const int code : encoding.side.column_scale) {
    factors.push_back(NeuralColumnFactor(encoding.scale, code));
  }
  const NeuralSynthesis analysis(model.analysis), synthesis(model.synthesis);
  const NeuralTables tables(model.synthesis);
  const std::vector<int16_t> idle = IdleLatents(model.synthesis);
  encoding.decoded.resize(input.elements.size());
  const CodedMatrix coded =
      CodeBands({&tensor, input.elements, &analysis, &synthesis, &tables, model.expected_mse,
                 factors, encoding.side.column_quality, feedback, idle},
                encoding.decoded, pool);
  for (const NeuralBandResult& r : coded.results) {
    encoding.bits += r.bits;
    encoding.squared_error += r.squared_error;
    encoding.exact_chunks += r.exact_chunks.size();
  }
  encoding.tiles.resize(tensor.grid_rows() * tensor.grid_columns());
  pool->ParallelFor(encoding.tiles.size(), [&](size_t i) {
    encoding.tiles[i] = CutTile(coded, input, model.synthesis, i);
  });
  return encoding;
}

}  // namespace nwc
