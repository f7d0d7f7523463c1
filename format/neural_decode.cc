// NeuralDecoder and the scalar lines, which follow spec/codec.md line by line.
#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "format/chunk_parts.h"
#include "format/neural_chunk.h"
#include "format/neural_lines.h"

namespace nwc {
namespace {

constexpr size_t kEscapeBytes = 2;
constexpr uint32_t kPlainNan = 0x7FC00000;

Status Malformed(const char* what) { return Status::Corrupt(36, std::string("nwc chunk ") + what); }

// Decodes a tile: entropy-coded lines of a stripe's chunk row, the net, the rows they make.
class TileDecoder {
 public:
  struct Job {
    DType dtype;
    size_t rows, columns;
    const uint8_t* quality;  // columns
    const float* factors;    // columns
    uint8_t* out;
    size_t row_stride_bytes;
  };

  TileDecoder(const Job& job, const NeuralDecodeCodec& codec, const NeuralChunkView& view,
              Simd simd)
      : job_(job),
        codec_(codec),
        settings_(codec.synthesis.settings()),
        simd_(simd),
        rans_{view.states, PaddedWords(view.words), codec.tables.buckets()},
        escapes_(view.latent_escapes),
        tables_(settings_.latents),
        latents_(settings_.latents * kNeuralColumns),
        values_(settings_.chunk * kNeuralColumns) {}

  Status Run() {
    for (size_t stripe = 0; stripe < job_.columns; stripe += kNeuralColumns) {
      const size_t columns = std::min(kNeuralColumns, job_.columns - stripe);
      ChooseTables(stripe, columns);
      for (size_t row = 0; row < job_.rows; row += settings_.chunk) {
        NWC_RETURN_IF_ERROR(DecodeLatents());
        codec_.synthesis.Run(latents_.data(), job_.quality + stripe, columns, values_.data(), simd_,
                             &scratch_);
        Store(row, stripe, columns);
      }
    }
    NWC_RETURN_IF_ERROR(CheckRansEnd(rans_.states, rans_.words.finished()));
    return escape_at_ == escapes_.size() ? Status() : BadEscapes();
  }

 private:
  static Status BadEscapes() {
    return Status::Corrupt(37, "nwc chunk has too few or too many latent escapes");
  }

  void ChooseTables(size_t stripe, size_t columns) {
    for (size_t l = 0; l < tables_.size(); ++l) {
      for (size_t lane = 0; lane < kLanes; ++lane) {
        const auto position = static_cast<size_t>(LanePosition(static_cast<int>(lane)));
        const bool active = position < columns;
        const auto& table = codec_.tables.table(active ? job_.quality[stripe + position] : 0, l);
        tables_[l].first_bucket[lane] = static_cast<int32_t>(table.first_bucket);
        tables_[l].bucket_bits[lane] = table.bucket_bits;
        tables_[l].lowest[lane] = table.lowest;
        tables_[l].escape[lane] = table.escape;
        tables_[l].active[lane] = active ? -1 : 0;
      }
    }
  }

  Status DecodeLatents() {
    const auto decode_line = simd_ >= Simd::kAvx2 ? DecodeNeuralLineAvx2 : DecodeNeuralLineScalar;
    for (size_t l = 0; l < tables_.size(); ++l) {
      int16_t* line = &latents_[l * kNeuralColumns];
      if (*rans_.words.at() > rans_.words.last_safe()) rans_.words.EnterTail();
      uint32_t escapes = decode_line(tables_[l], &rans_, line);
      if (rans_.words.overrun()) return CheckRansEnd(rans_.states, false);
      for (; escapes != 0; escapes &= escapes - 1) {
        if (escape_at_ == escapes_.size()) return BadEscapes();
        line[LanePosition(std::countr_zero(escapes))] = LoadLittle<int16_t>(&escapes_[escape_at_]);
        escape_at_ += kEscapeBytes;
      }
    }
    return {};
  }

  void Store(size_t row, size_t stripe, size_t columns) {
    const auto store = simd_ >= Simd::kAvx2 ? StoreNeuralRowAvx2 : StoreNeuralRowScalar;
    const size_t rows = std::min<size_t>(settings_.chunk, job_.rows - row);
    for (size_t k = 0; k < rows; ++k) {
      store(job_.dtype, &values_[k * kNeuralColumns], job_.factors + stripe, columns,
            job_.out + (row + k) * job_.row_stride_bytes + stripe * DTypeSize(job_.dtype));
    }
  }

  const Job& job_;
  const NeuralDecodeCodec& codec_;
  const NeuralSettings& settings_;
  const Simd simd_;
  NeuralRans rans_;
  const ByteSpan escapes_;
  size_t escape_at_ = 0;
  std::vector<NeuralLineTables> tables_;  // one a latent
  std::vector<int16_t> latents_;
  std::vector<float> values_;
  NeuralSynthesis::Scratch scratch_;
};

void ApplyExactChunks(const NeuralChunkView& view, size_t chunk, const TileDecoder::Job& job) {
  const size_t size = DTypeSize(job.dtype);
  const uint8_t* value = view.chunk_values.data();
  for (size_t at = 0; at < view.chunk_ids.size(); at += sizeof(uint32_t)) {
    const uint32_t id = LoadLittle<uint32_t>(&view.chunk_ids[at]);
    const size_t row = id / job.columns * chunk;
    uint8_t* out = job.out + row * job.row_stride_bytes + id % job.columns * size;
    for (size_t k = std::min(chunk, job.rows - row); k > 0; --k, value += size) {
      std::memcpy(out, value, size);
      out += job.row_stride_bytes;
    }
  }
}

}  // namespace

Result<NeuralChunkView> ParseNeuralChunk(ByteSpan bytes, uint64_t rows, uint64_t columns,
                                         const NeuralSettings& settings, size_t element_bytes) {
  NeuralChunkView view;
  ChunkCutter cutter(bytes);
  ByteSpan fixed;
  if (!cutter.Take(kNeuralHeaderBytes, &fixed)) return Malformed("is shorter than its header");
  const uint64_t words = LoadLittle<uint32_t>(&fixed[0]);
  const uint64_t latent_escapes = LoadLittle<uint32_t>(&fixed[4]);
  const uint64_t exact_chunks = LoadLittle<uint32_t>(&fixed[8]);
  std::memcpy(view.states.data(), &fixed[12], sizeof view.states);
  const uint64_t chunk_rows = DivideRoundingUp(rows, settings.chunk);
  const uint64_t chunks = chunk_rows * columns;  // at most 2^20, as all weights
  if (latent_escapes > chunks * settings.latents || exact_chunks > chunks) {
    return Malformed("has a header out of range");
  }
  if (!cutter.Take(2 * words, &view.words) ||
      !cutter.Take(kEscapeBytes * latent_escapes, &view.latent_escapes) || !cutter.Pad() ||
      !cutter.Take(sizeof(uint32_t) * exact_chunks, &view.chunk_ids)) {
    return Malformed("has parts that do not add up to its size");
  }
  if (!StrictlyAscendingBelow<uint32_t>(view.chunk_ids, chunks)) {
    return Status::Corrupt(25, "exact chunks out of order or outside the tile");
  }
  uint64_t weights = 0;
  for (size_t at = 0; at < view.chunk_ids.size(); at += sizeof(uint32_t)) {
    const uint64_t row = LoadLittle<uint32_t>(&view.chunk_ids[at]) / columns * settings.chunk;
    weights += std::min<uint64_t>(settings.chunk, rows - row);
  }
  if (!cutter.Take(weights * element_bytes, &view.chunk_values) || !cutter.Pad() ||
      !cutter.done()) {
    return Malformed("has parts that do not add up to its size");
  }
  return view;
}

uint32_t DecodeNeuralLineScalar(const NeuralLineTables& tables, NeuralRans* rans,
                                int16_t* latents) {
  uint32_t escapes = 0;
  for (size_t lane = 0; lane < kLanes; ++lane) {
    const int position = LanePosition(static_cast<int>(lane));
    latents[position] = 0;
    if (tables.active[lane] == 0) continue;
    const uint32_t symbol = DecodeWideSymbol(rans->buckets + tables.first_bucket[lane],
                                             tables.bucket_bits[lane], &rans->states[lane]);
    const auto value = static_cast<int>(symbol);
    if (value == tables.escape[lane]) escapes |= 1u << lane;
    latents[position] = static_cast<int16_t>(tables.lowest[lane] + value);
  }
  const uint8_t** word = rans->words.at();
  for (size_t lane = 0; lane < kLanes; ++lane) {
    uint32_t& x = rans->states[lane];
    if (tables.active[lane] == 0 || x >= kRansLow) continue;
    x = x << 16 | LoadLittle<uint16_t>(*word);
    *word += sizeof(uint16_t);
  }
  return escapes;
}

void StoreNeuralRowScalar(DType dtype, const float* values, const float* factors, size_t columns,
                          uint8_t* out) {
  std::array<float, kNeuralColumns> scaled;
  for (size_t c = 0; c < columns; ++c) {
    const float value = values[c] * factors[c];
    scaled[c] = value != value ? std::bit_cast<float>(kPlainNan) : value;
  }
  FromFloat(dtype, scaled.data(), columns, out);
}

NeuralDecoder::NeuralDecoder(const TensorInfo& tensor, NeuralSideInfo side,
                             std::shared_ptr<const NeuralDecodeCodec> codec)
    : dtype_(tensor.dtype), side_(std::move(side)), codec_(std::move(codec)) {
  column_factors_.reserve(side_.column_scale.size());
  for (const int16_t code : side_.column_scale) {
    column_factors_.push_back(NeuralColumnFactor(tensor.neural->scale, code));
  }
}

Status NeuralDecoder::Decode(ByteSpan chunk, const TileRange& tile, uint8_t* out,
                             size_t row_stride_bytes, Simd simd) const {
  const NeuralSettings& settings = codec_->synthesis.settings();
  NWC_ASSIGN_OR_RETURN(
      const NeuralChunkView view,
      ParseNeuralChunk(chunk, tile.rows(), tile.columns(), settings, DTypeSize(dtype_)));
  NWC_RETURN_IF_ERROR(CheckFirstStates(view.states));
  const TileDecoder::Job job{dtype_,
                             tile.rows(),
                             tile.columns(),
                             &side_.column_quality[tile.column_begin],
                             &column_factors_[tile.column_begin],
                             out,
                             row_stride_bytes};
  NWC_RETURN_IF_ERROR(TileDecoder(job, *codec_, view, simd).Run());
  ApplyExactChunks(view, settings.chunk, job);
  return {};
}

}  // namespace nwc
