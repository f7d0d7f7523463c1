// StreamDecoder and the scalar decoder, which follows spec/codec.md line by line.
#include "format/stream_codec.h"

#include <algorithm>
#include <array>

#include "format/chunk_parts.h"
#include "format/stream_chunk.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

void StoreElement(DType dtype, float value, uint8_t* out) {
  if (dtype == DType::kF32) {
    StoreLittle(out, value);
  } else {
    StoreLittle(out, dtype == DType::kF16 ? FloatToHalf(value) : FloatToBFloat16(value));
  }
}

// One row of one stripe.
class ScalarLine {
 public:
  ScalarLine(const StreamTileJob& job, const LaneStates& states, ByteSpan words)
      : job_(job), states_(states), words_(words) {}

  void BeginStripe() { trellis_state_.fill(0); }

  void Decode(uint32_t row, uint32_t stripe) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(lane));
      if (column < job_.columns) DecodeWeight(row, column, lane);
    }
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint32_t column = stripe + static_cast<uint32_t>(LanePosition(lane));
      uint32_t& x = states_[static_cast<size_t>(lane)];
      if (column < job_.columns && x < kRansLow) x = x << 16 | words_.Next();
    }
  }

  [[nodiscard]] bool overrun() const { return words_.overrun(); }
  [[nodiscard]] Status End() const { return CheckRansEnd(states_, words_.finished()); }

 private:
  void DecodeWeight(uint32_t row, uint32_t column, int lane) {
    const auto at = static_cast<size_t>(lane);
    const int t = std::clamp(job_.row_table[row] + job_.column_table[column], 0, kTableCount - 1);
    const int q = job_.trellis->Quantizer(trellis_state_[at]);
    const AliasBucket* table = job_.tables + (static_cast<size_t>(2 * t + q) << job_.bucket_bits);
    const int k = static_cast<int8_t>(DecodeSymbol(table, job_.bucket_bits, &states_[at]));
    trellis_state_[at] = job_.trellis->Next(trellis_state_[at], k);
    const float value = Reconstruct(ReconstructionLevel(k, q, job_.offset1, job_.offset2),
                                    job_.column_factors[column], job_.row_steps[row]);
    StoreElement(job_.dtype, value,
                 job_.out + row * job_.row_stride_bytes + column * DTypeSize(job_.dtype));
  }

  const StreamTileJob& job_;
  LaneStates states_;
  WordReader words_;
  std::array<int, kLanes> trellis_state_{};
};

void ApplyExactColumns(const StreamChunkView& view, const StreamTileJob& job) {
  const size_t size = DTypeSize(job.dtype);
  const uint8_t* values = view.column_values.data();
  for (size_t i = 0; i < view.header.exact_columns; ++i) {
    const size_t column = LoadLittle<uint16_t>(&view.column_ids[2 * i]);
    for (uint32_t row = 0; row < job.rows; ++row, values += size) {
      std::memcpy(job.out + row * job.row_stride_bytes + column * size, values, size);
    }
  }
}

void ApplyPatches(const StreamChunkView& view, const StreamTileJob& job) {
  const size_t size = DTypeSize(job.dtype);
  for (size_t i = 0; i < view.header.patches; ++i) {
    const uint32_t id = LoadLittle<uint32_t>(&view.patch_ids[4 * i]);
    std::memcpy(job.out + id / job.columns * job.row_stride_bytes + id % job.columns * size,
                &view.patch_values[i * size], size);
  }
}

}  // namespace

Status DecodeStreamScalar(const StreamTileJob& job, const LaneStates& states, ByteSpan words) {
  ScalarLine line(job, states, words);
  for (uint32_t stripe = 0; stripe < job.columns; stripe += kLanes) {
    line.BeginStripe();
    for (uint32_t row = 0; row < job.rows; ++row) {
      line.Decode(row, stripe);
      if (line.overrun()) return line.End();
    }
  }
  return line.End();
}

StreamTables::StreamTables(const CodecTables& tables) : tables_(tables) {
  for (int bits = kMinBucketBits; bits <= kMaxBucketBits; ++bits) {
    by_bits_[bits - kMinBucketBits] = BuildStreamAliasTables(tables, bits);
  }
}

StreamDecoder::StreamDecoder(const TensorInfo& tensor, SideInfo side,
                             std::shared_ptr<const StreamTables> tables)
    : dtype_(tensor.dtype),
      info_(*tensor.stream),
      side_(std::move(side)),
      tables_(std::move(tables)) {
  row_steps_ = RowSteps(side_, 0, side_.row_step.size());
  column_factors_.reserve(side_.column_step.size());
  for (const int16_t code : side_.column_step) {
    column_factors_.push_back(ColumnFactor(info_.scale, code));
  }
}

Status StreamDecoder::Decode(ByteSpan chunk, const TileRange& tile, uint8_t* out,
                             size_t row_stride_bytes, Simd simd) const {
  return DecodeUpTo(StreamStage::kStore, chunk, tile, out, row_stride_bytes, simd);
}

Status StreamDecoder::DecodeUpTo(StreamStage last, ByteSpan chunk, const TileRange& tile,
                                 uint8_t* out, size_t row_stride_bytes, Simd simd) const {
  const bool whole = last == StreamStage::kStore;
  if (!whole && simd == Simd::kScalar) {
    return Status(ErrorCode::kUnsupported, "stages are measured in vector code");
  }
  NWC_ASSIGN_OR_RETURN(const StreamChunkView view,
                       ParseStreamChunk(chunk, tile.rows(), tile.columns(), DTypeSize(dtype_)));
  NWC_RETURN_IF_ERROR(CheckFirstStates(view.header.states));
  StreamTileJob job;
  job.last_stage = last;
  job.dtype = dtype_;
  job.rows = static_cast<uint32_t>(tile.rows());
  job.columns = static_cast<uint32_t>(tile.columns());
  job.bucket_bits = view.header.bucket_bits;
  job.trellis = &kTrellises[info_.trellis];
  job.offset1 = info_.offset1;
  job.offset2 = info_.offset2;
  job.tables = tables_->buckets(job.bucket_bits);
  job.row_table = &side_.row_table[tile.row_begin];
  job.column_table = &side_.column_table[tile.column_begin];
  job.row_steps = &row_steps_[tile.row_begin];
  job.column_factors = &column_factors_[tile.column_begin];
  job.out = out;
  job.row_stride_bytes = row_stride_bytes;
  const TableSpan span = TableSpanOf({job.row_table, job.rows}, {job.column_table, job.columns});
  if (tables_->tables().BucketBits(span.low, span.high) > job.bucket_bits) {
    return Status::Corrupt(24, "stream chunk has too few buckets for its tables");
  }
  const auto decode = simd == Simd::kAvx512 ? DecodeStreamAvx512
                      : simd == Simd::kAvx2 ? DecodeStreamAvx2
                                            : DecodeStreamScalar;
  const Status status = decode(job, view.header.states, view.words);
  if (!whole) return {};
  NWC_RETURN_IF_ERROR(status);
  ApplyExactColumns(view, job);
  ApplyPatches(view, job);
  return {};
}

}  // namespace nwc
