#include "encoder/stream_coder.h"

#include <optional>
#include <utility>

#include "encoder/band_search.h"

namespace nwc {

StreamCoder::StreamCoder(const StreamOptions& options, StreamChoice choice, bool roundtrip)
    : options_(options),
      choice_(std::move(choice)),
      roundtrip_(roundtrip),
      costs_(choice_.tables),
      encode_tables_(choice_.tables),
      decode_tables_(std::make_shared<const StreamTables>(choice_.tables)) {}

Status StreamCoder::NoteUse(const CodedTensor& coded) {
  if (!coded.info.stream) return Status(ErrorCode::kCorrupt, "a stored part is no stream tensor");
  NWC_ASSIGN_OR_RETURN(const SideInfo side,
                       ParseSideInfo(coded.side, coded.info.rows, coded.info.columns,
                                     coded.info.stream->scale, coded.info.stream->row_gains));
  MarkUsedTables(side, &used_);
  return {};
}

void StreamCoder::SetStream(const StepsAndTables& steps, uint16_t codec, TensorInfo* info) const {
  StreamInfo& stream = info->stream.emplace();
  stream.codec = codec;
  stream.trellis = static_cast<uint8_t>(options_.trellis);
  stream.scale = steps.scale;
  stream.offset1 = static_cast<int8_t>(choice_.offset1);
  stream.offset2 = static_cast<int8_t>(choice_.offset2);
}

Result<CodedTensor> StreamCoder::Code(TensorInfo info, ByteSpan elements, uint16_t codec,
                                      WorkerPool* pool) {
  const TensorScales scales = MeasureScales(info, elements);
  NWC_ASSIGN_OR_RETURN(const TensorImportance importance,
                       ImportanceOf(options_, info, scales, pool));
  const StepsAndTables steps =
      ChooseSteps(info, scales, importance.steps, importance.lower, choice_.constant);
  MarkUsedTables(steps.side, &used_);
  SetStream(steps, codec, &info);

  CodedTensor coded;
  coded.side = SerializeSideInfo(steps.side);
  info.stream->side.hash = Hash64(coded.side);
  coded.chunks.resize(info.grid_rows() * info.grid_columns());
  std::vector<uint8_t> decoded(elements.size());
  std::vector<double> squared_error(info.grid_rows()), squared_steps(info.grid_rows());
  const size_t row_bytes = info.columns * DTypeSize(info.dtype);
  std::optional<RowWavefront> wavefront;
  if (!importance.upper.empty()) {
    wavefront.emplace(importance.upper, info.rows, info.columns, info.grid_rows());
  }
  pool->ParallelFor(info.grid_rows(), [&](size_t band) {
    const TileRange first = info.Tile(band * info.grid_columns());
    const size_t begin = first.row_begin * row_bytes, size = first.rows() * row_bytes;
    const auto fed = wavefront ? wavefront->Band(band, first.row_begin, first.row_end) : nullptr;
    const BandInput input{&info,
                          &steps.side,
                          first.row_begin,
                          first.row_end,
                          elements.subspan(begin, size),
                          importance.lower,
                          MutableByteSpan(decoded).subspan(begin, size),
                          fed.get()};
    const CodedBand found = CodeBand(input, costs_, options_.lambda, nullptr);
    squared_error[band] = found.squared_error;
    squared_steps[band] = found.squared_steps;
    for (size_t t = 0; t < info.grid_columns(); ++t) {
      const size_t chunk = band * info.grid_columns() + t;
      const TileRange range = info.Tile(chunk);
      const std::span rows(&steps.side.row_table[range.row_begin], range.rows());
      const std::span columns(&steps.side.column_table[range.column_begin], range.columns());
      coded.chunks[chunk] =
          EncodeStreamChunk(TileOfBand(found, input, range.column_begin, range.column_end),
                            info.stream->trellis, rows, columns, encode_tables_);
    }
  });
  info.decoded_hash = Hash128Of(decoded);
  coded.info = std::move(info);
  if (roundtrip_) NWC_RETURN_IF_ERROR(CheckRoundTrip(coded, decoded, decode_tables_, pool));
  double error = 0, norm = 0, squares = 0;
  for (const double e : squared_error) error += e;
  for (const double s : squared_steps) squares += s;
  for (const double r : scales.row_rms) norm += r * r * static_cast<double>(coded.info.columns);
  coded.relative_mse = norm == 0 ? 0 : error / norm;
  // ½ Σ o_j D_i e², and a step² is constant² / (o_j D_i).
  if (importance.measures_kl) coded.kl = 0.5 * choice_.constant * choice_.constant * squares;
  return coded;
}

}  // namespace nwc
