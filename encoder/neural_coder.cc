#include "encoder/neural_coder.h"

#include <utility>

#include "encoder/neural_encoder.h"

namespace nwc {
namespace {

double SquaredNorm(const TensorInfo& info, ByteSpan elements) {
  std::vector<float> row(info.columns);
  double norm = 0;
  const size_t row_bytes = info.columns * DTypeSize(info.dtype);
  for (uint64_t j = 0; j < info.rows; ++j) {
    ToFloat(info.dtype, &elements[j * row_bytes], row.size(), row.data());
    for (const float w : row) norm += static_cast<double>(w) * w;
  }
  return norm;
}

}  // namespace

NeuralCoder::NeuralCoder(const NeuralModel& model, const ImportanceOptions& importance,
                         const StatisticsSource* statistics, bool roundtrip)
    : model_(model),
      importance_(importance),
      statistics_(statistics),
      roundtrip_(roundtrip),
      encode_tables_(model.synthesis),
      decode_codec_(std::make_shared<const NeuralDecodeCodec>(model.synthesis)) {}

Result<CodedTensor> NeuralCoder::Code(TensorInfo info, ByteSpan elements, uint16_t codec,
                                      WorkerPool* pool) const {
  LayerStatistics statistics;
  NeuralEncodeInput input;
  if (statistics_ != nullptr && statistics_->Has(info.name)) {
    NWC_ASSIGN_OR_RETURN(
        statistics, statistics_->Read(info.name, info.rows, info.columns, InputMoment::kPlain));
    input.input_moment = statistics.input_moment.data();
  }
  input.tensor = &info;
  input.elements = elements;
  input.feedback = importance_.feedback;
  input.damping = importance_.damping;
  NWC_ASSIGN_OR_RETURN(const NeuralEncoding encoding, EncodeNeural(model_, input, pool));

  CodedTensor coded;
  coded.side = SerializeNeuralSideInfo(encoding.side);
  info.neural = NeuralInfo{codec, encoding.scale, {0, 0, Hash64(coded.side)}};
  info.decoded_hash = Hash128Of(encoding.decoded);
  const double norm = SquaredNorm(info, elements);
  coded.relative_mse = norm == 0 ? 0 : encoding.squared_error / norm;
  coded.info = std::move(info);
  NWC_RETURN_IF_ERROR(CodeChunks(encoding, pool, &coded));
  if (roundtrip_) {
    NWC_RETURN_IF_ERROR(CheckRoundTrip(coded, encoding.decoded, decode_codec_, pool));
  }
  return coded;
}

Status NeuralCoder::CodeChunks(const NeuralEncoding& encoding, WorkerPool* pool,
                               CodedTensor* coded) const {
  const TensorInfo& info = coded->info;
  coded->chunks.resize(encoding.tiles.size());
  std::vector<Status> failed(encoding.tiles.size());
  pool->ParallelFor(encoding.tiles.size(), [&](size_t i) {
    const TileRange range = info.Tile(i);
    auto chunk = EncodeNeuralChunk(
        encoding.tiles[i], info.dtype,
        std::span(&encoding.side.column_quality[range.column_begin], range.columns()),
        encode_tables_);
    if (chunk.ok()) coded->chunks[i] = std::move(*chunk);
    if (!chunk.ok()) failed[i] = chunk.status();
  });
  for (Status& s : failed) NWC_RETURN_IF_ERROR(std::move(s));
  return {};
}

}  // namespace nwc
