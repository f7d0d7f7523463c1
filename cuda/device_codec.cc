#include "cuda/device_codec.h"

#include <algorithm>
#include <bit>
#include <string>
#include <utility>

#include "cuda/neural_net.h"
#include "cuda/neural_tensor.h"
#include "format/neural_tables.h"
#include "format/stream_chunk.h"
#include "format/synthesis.h"
#include "format/trellis.h"

namespace nwc {
namespace {

// Row-major [outputs][inputs] to [inputs][outputs].
void AppendTransposed(const std::vector<float>& matrix, size_t outputs, std::vector<float>* out) {
  const size_t inputs = matrix.size() / outputs;
  for (size_t i = 0; i < inputs; ++i) {
    for (size_t o = 0; o < outputs; ++o) out->push_back(matrix[o * inputs + i]);
  }
}

void Append(const std::vector<float>& values, std::vector<float>* out) {
  out->insert(out->end(), values.begin(), values.end());
}

std::vector<float> NetParameters(const NeuralCodec& codec) {
  std::vector<float> p;
  AppendTransposed(codec.in_weight, codec.width, &p);
  Append(codec.in_bias, &p);
  for (const NeuralBlock& block : codec.block) {
    AppendTransposed(block.weight, codec.width, &p);
    for (const auto* part : {&block.bias, &block.gain, &block.shift, &block.embedding}) {
      Append(*part, &p);
    }
  }
  AppendTransposed(codec.out_weight, codec.chunk, &p);
  Append(codec.out_bias, &p);
  return p;
}

// [outputs][inputs] in the order of neural_tensor.h; 0 beyond the matrix.
void AppendTiles(const std::vector<float>& matrix, size_t outputs, std::vector<Vector16>* out) {
  const size_t inputs = matrix.size() / outputs;
  const auto factor = [&](size_t o, size_t i) -> uint32_t {
    return o < outputs && i < inputs ? FloatToBFloat16(matrix[o * inputs + i]) : 0;
  };
  for (size_t k = 0; k < inputs; k += kTensorTile) {
    for (size_t first = 0; first < outputs; first += kTensorTile) {
      for (size_t lane = 0; lane < kWarpLanes; ++lane) {
        Vector16 a{};
        for (size_t part = 0; part < 4; ++part) {
          const size_t o = first + lane / 4 + part % 2 * 8;
          const size_t i = k + lane % 4 * 2 + part / 2 * 8;
          a.part[part] = factor(o, i) | factor(o, i + 1) << 16;
        }
        out->push_back(a);
      }
    }
  }
}

std::vector<Vector16> TensorWeights(const NeuralCodec& codec) {
  std::vector<Vector16> tiles;
  if (!FitsTensorCores(codec.chunk, codec.latents, codec.width)) return tiles;
  AppendTiles(codec.in_weight, codec.width, &tiles);
  for (const NeuralBlock& block : codec.block) AppendTiles(block.weight, codec.width, &tiles);
  AppendTiles(codec.out_weight, codec.chunk, &tiles);
  return tiles;
}

// StreamJob::next.
uint32_t PackedNext(const Trellis& trellis, int parity) {
  uint32_t packed = 0;
  for (int s = 0; s < trellis.states; ++s) {
    const int next = trellis.Next(s, parity);
    packed |= static_cast<uint32_t>(next | trellis.Quantizer(next) << 3) << (4 * s);
  }
  return std::rotl(packed, 2);
}

}  // namespace

Result<std::shared_ptr<const DeviceStreamTables>> DeviceStreamTables::Upload(
    DeviceRuntime* runtime, std::shared_ptr<const StreamTables> tables, DeviceStream stream) {
  auto uploaded = std::make_shared<DeviceStreamTables>();
  for (int bits = kMinBucketBits; bits <= kMaxBucketBits; ++bits) {
    const size_t count = size_t{kTableCount * kQuantizerCount} << bits;
    NWC_ASSIGN_OR_RETURN(
        uploaded->by_bits_[static_cast<size_t>(bits - kMinBucketBits)],
        DeviceBuffer::CopyOf(runtime, std::span(tables->buckets(bits), count), stream));
  }
  uploaded->host_ = std::move(tables);
  return std::shared_ptr<const DeviceStreamTables>(std::move(uploaded));
}

Status DeviceNeuralCodec::CheckFits(const DeviceRuntime& runtime, const NeuralSettings& settings) {
  const size_t needed =
      NetSharedBytes(std::max({settings.width, settings.latents, settings.chunk}));
  if (needed <= runtime.max_shared_bytes()) return {};
  return Status(ErrorCode::kUnsupported, "a net of width " + std::to_string(settings.width) +
                                             " needs " + std::to_string(needed) +
                                             " bytes of shared memory, " + runtime.name() +
                                             " has " + std::to_string(runtime.max_shared_bytes()) +
                                             "; load it on the CPU or on another GPU");
}

Result<std::shared_ptr<const DeviceNeuralCodec>> DeviceNeuralCodec::Upload(DeviceRuntime* runtime,
                                                                           const NeuralCodec& codec,
                                                                           DeviceStream stream) {
  NWC_RETURN_IF_ERROR(CheckFits(*runtime, codec));
  auto uploaded = std::make_shared<DeviceNeuralCodec>();
  uploaded->settings_ = codec;
  const NeuralTables host(codec);
  std::vector<LatentTable> tables;
  size_t bucket_count = 0;
  for (size_t q = 0; q < codec.qualities; ++q) {
    for (size_t l = 0; l < codec.latents; ++l) {
      const NeuralTables::Table& t = host.table(q, l);
      tables.push_back({t.first_bucket, t.bucket_bits, t.lowest, t.escape});
      bucket_count = std::max(bucket_count, t.first_bucket + (size_t{1} << t.bucket_bits));
    }
  }
  const std::vector<float> parameters = NetParameters(codec);
  const std::vector<Vector16> tiles = TensorWeights(codec);
  NWC_ASSIGN_OR_RETURN(uploaded->tensor_weights_,
                       DeviceBuffer::CopyOf(runtime, std::span(tiles), stream));
  NWC_ASSIGN_OR_RETURN(uploaded->parameters_,
                       DeviceBuffer::CopyOf(runtime, std::span(parameters), stream));
  NWC_ASSIGN_OR_RETURN(uploaded->tables_,
                       DeviceBuffer::CopyOf(runtime, std::span<const LatentTable>(tables), stream));
  NWC_ASSIGN_OR_RETURN(
      uploaded->buckets_,
      DeviceBuffer::CopyOf(runtime, std::span(host.buckets(), bucket_count), stream));
  return std::shared_ptr<const DeviceNeuralCodec>(std::move(uploaded));
}

void DeviceNeuralCodec::Describe(NeuralJob* job) const {
  job->tables = tables_.as<LatentTable>();
  job->buckets = buckets_.as<AliasBucket>();
  job->net = {settings_.chunk,
              settings_.latents,
              settings_.width,
              settings_.blocks,
              settings_.qualities,
              parameters_.as<float>(),
              tensor_weights_.as<Vector16>()};
}

Result<std::unique_ptr<DeviceTensorDecoder>> DeviceTensorDecoder::Create(
    DeviceRuntime* runtime, const TensorInfo& tensor, TensorFacts facts, DeviceCodec codec,
    DeviceAddress memory, DeviceStream stream) {
  if (!tensor.supported()) {
    return Status(ErrorCode::kUnsupported, "profile " + std::to_string(tensor.profile_value) +
                                               " is newer than this build: update nwc");
  }
  if ((tensor.stream && codec.stream == nullptr) || (tensor.neural && codec.neural == nullptr)) {
    return Status(ErrorCode::kInternal, "a tensor needs its codec");
  }
  auto decoder = std::make_unique<DeviceTensorDecoder>();
  decoder->tensor_ = &tensor;
  decoder->codec_ = std::move(codec);
  decoder->facts_ = memory;
  decoder->row_reach_ = std::move(facts.row_reach);
  decoder->column_reach_ = std::move(facts.column_reach);
  if (!facts.bytes.empty()) {
    NWC_RETURN_IF_ERROR(
        runtime->CopyToDevice(memory, facts.bytes.data(), facts.bytes.size(), stream));
  }
  return decoder;
}

StreamJob DeviceTensorDecoder::MakeStreamJob(size_t number, TableReach* reach) const {
  const TileRange tile = tensor_->Tile(number);
  const TableReach& rows = row_reach_[tile.row_begin / tensor_->tile_rows];
  const TableReach& columns = column_reach_[tile.column_begin / tensor_->tile_columns];
  reach->span = TableSpanOf(rows.span, columns.span);
  reach->middle = rows.middle + columns.middle;
  const StreamInfo& info = *tensor_->stream;
  const Trellis& trellis = kTrellises[info.trellis];
  StreamJob job{};
  job.next[0] = PackedNext(trellis, 0);
  job.next[1] = PackedNext(trellis, 1);
  job.offset1 = info.offset1;
  job.offset2 = info.offset2;
  const auto* const facts = reinterpret_cast<const LineFacts*>(facts_.value);
  job.row_facts = facts + tile.row_begin;
  job.column_facts = facts + tensor_->rows + tile.column_begin;
  job.min_bucket_bits =
      static_cast<uint32_t>(codec_.stream->tables().BucketBits(reach->span.low, reach->span.high));
  return job;
}

NeuralJob DeviceTensorDecoder::MakeNeuralJob(size_t number) const {
  const TileRange tile = tensor_->Tile(number);
  NeuralJob job{};
  job.column_factors = reinterpret_cast<const float*>(facts_.value) + tile.column_begin;
  job.column_quality = facts_.value + sizeof(float) * tensor_->columns + tile.column_begin;
  codec_.neural->Describe(&job);
  return job;
}

}  // namespace nwc
