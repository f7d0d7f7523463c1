#include "encoder/encoder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <new>
#include <regex>

#include "encoder/policy.h"
#include "encoder/rate_control.h"
#include "encoder/stream_encoder.h"
#include "encoder/worker_pool.h"

namespace nwc {
namespace {

constexpr double kMinBits = 1, kMaxBits = 7;

// Coded bytes a source byte that a dry run expects of `exact`.
double ExactRatio(DType dtype) {
  switch (dtype) {
    case DType::kBF16:
      return 0.67;
    case DType::kF16:
      return 0.86;
    default:
      return 0.84;
  }
}

std::string OptionsJson(const PackOptions& o) {
  // Names and numbers only; rules are regular expressions and stay with the user.
  return std::string("{\"profile\":\"") + ProfileName(o.profile) +
         "\",\"bits\":" + std::to_string(o.bits) +
         ",\"trellis\":" + std::to_string(static_cast<int>(o.trellis)) +
         ",\"rules\":" + std::to_string(o.rules.size()) + "}";
}

Status CheckBits(const std::vector<TensorPlan>& plans) {
  for (const TensorPlan& p : plans) {
    if (p.profile == Profile::kStream && (p.bits < kMinBits || p.bits > kMaxBits)) {
      return Status(ErrorCode::kUsage, "stream reaches 1 to 7 bits a weight, not " +
                                           std::to_string(p.bits) + ": use profile exact for more");
    }
  }
  return {};
}

// A pattern may compile and still exhaust the matcher.
Status BadSearch(const std::regex_error& e) {
  return Status(ErrorCode::kUsage, std::string("a regular expression is too complex: ") + e.what());
}

PackedTensor Report(const SourceTensor& source, const TensorPlan& plan) {
  PackedTensor r;
  r.name = source.name;
  r.dtype = source.dtype;
  r.shape = source.shape;
  r.profile = plan.profile;
  r.linear = plan.linear;
  r.note = plan.note;
  r.weights = plan.weights;
  r.source_bytes = plan.weights * DTypeSize(source.dtype);
  r.target_bits = plan.profile == Profile::kStream ? plan.bits : 0;
  return r;
}

void Total(PackReport* report, uint64_t codec_bytes) {
  double linear_bytes = static_cast<double>(codec_bytes);
  for (const PackedTensor& t : report->tensors) {
    report->source_bytes += t.source_bytes;
    if (!t.linear) continue;
    report->linear_weights += t.weights;
    linear_bytes += static_cast<double>(t.packed_bytes);
  }
  if (report->linear_weights != 0) {
    report->linear_bits_per_weight = 8 * linear_bytes / static_cast<double>(report->linear_weights);
  }
}

// One pack: holds what its steps share.
class Packer {
 public:
  Packer(const TensorSource& source, const PackOptions& options, ByteSink* sink,
         const ProgressCallback& progress, const std::atomic<bool>* cancel)
      : source_(source),
        options_(options),
        progress_(progress),
        cancel_(cancel),
        writer_(sink),
        pool_(options.threads),
        tables_(DefaultCodec().tables),
        costs_(tables_) {}

  Result<PackReport> Run(const std::vector<SourceFile>& files) {
    NWC_ASSIGN_OR_RETURN(plans_, PlanTensors(source_, options_));
    NWC_RETURN_IF_ERROR(CheckBits(plans_));
    NWC_RETURN_IF_ERROR(ControlRates());
    for (const SourceFile& f : files) NWC_RETURN_IF_ERROR(writer_.AddFile(f.name, f.content));
    for (const ShardInfo& s : source_.shards()) writer_.AddShard(s);
    for (const TensorPlan& p : plans_) bytes_total_ += SourceBytes(p);
    Tell("packing", "", 0, bytes_total_);
    for (const TensorPlan& p : plans_) NWC_RETURN_IF_ERROR(PackTensor(p));
    uint64_t codec_bytes = 0;
    if (any_stream_) {
      CodecInfo codec = DefaultCodec();
      codec.tables = PruneCodec(tables_, used_tables_);
      codec_bytes = CodecBytes(codec.tables);
      writer_.AddCodec(std::move(codec));
    }
    writer_.SetProducer(options_.producer);
    writer_.SetOptions(OptionsJson(options_));
    NWC_RETURN_IF_ERROR(Stopped());
    NWC_RETURN_IF_ERROR(writer_.Finish());
    report_.file_bytes = writer_.bytes_written();
    Total(&report_, codec_bytes);
    return std::move(report_);
  }

 private:
  [[nodiscard]] uint64_t SourceBytes(const TensorPlan& p) const {
    return p.weights * DTypeSize(source_.tensors()[p.source].dtype);
  }

  [[nodiscard]] Status Stopped() const {
    if (cancel_ != nullptr && *cancel_) return Status(ErrorCode::kCancelled, "stopped");
    return {};
  }

  void Tell(const char* stage, const std::string& tensor, uint64_t done, uint64_t total) const {
    if (progress_) progress_({stage, tensor, done, total});
  }

  Status ControlRates() {
    std::map<double, std::vector<TensorPlan>> groups;
    for (const TensorPlan& p : plans_) {
      if (p.profile == Profile::kStream) groups[p.bits].push_back(p);
    }
    uint64_t done = 0;
    for (const auto& [bits, plans] : groups) {
      Tell("rate control", std::to_string(bits) + " bits", done, groups.size());
      NWC_ASSIGN_OR_RETURN(
          const RateResult found,
          FindStepRatio(source_, plans, bits, options_.trellis, tables_, &pool_, cancel_));
      steps_[bits] = found.choice;
      Tell("rate control", std::to_string(bits) + " bits", ++done, groups.size());
    }
    return {};
  }

  Status PackTensor(const TensorPlan& planned) {
    NWC_RETURN_IF_ERROR(Stopped());
    const SourceTensor& source = source_.tensors()[planned.source];
    TensorPlan plan = planned;
    std::vector<uint8_t> elements(SourceBytes(plan));
    NWC_RETURN_IF_ERROR(source_.Read(plan.source, elements));
    TensorInfo info = DescribeTensor(source, plan);
    if (plan.profile == Profile::kStream) {
      if (const std::string why = WhyNotStream(info, elements); !why.empty()) {
        plan.profile = Profile::kExact;
        plan.note = why;
        info = DescribeTensor(source, plan);
      }
    }
    PackedTensor packed = Report(source, plan);
    Status status = plan.profile == Profile::kStream
                        ? PackStream(&info, elements, steps_[plan.bits], &packed)
                        : PackLossless(&info, elements, &packed);
    if (!status.ok()) return status.WithContext("tensor '" + source.name + "'");
    const TensorInfo& written = writer_.index().tensors.back();
    packed.packed_bytes = written.payload_bytes() + kChunkEntryBytes * written.chunks.size();
    bytes_done_ += packed.source_bytes;
    Tell("packing", packed.name, bytes_done_, bytes_total_);
    report_.tensors.push_back(std::move(packed));
    return {};
  }

  Status PackLossless(TensorInfo* info, const std::vector<uint8_t>& elements,
                      PackedTensor* packed) {
    info->decoded_hash = Hash128Of(elements);
    if (info->profile() == Profile::kExact) {
      auto chunks = CodeTiles(*info, elements, [&](const std::vector<uint8_t>& tile) {
        return EncodeExactChunk(tile, info->dtype);
      });
      uint64_t coded = 0;
      for (const auto& c : chunks) coded += c.size();
      if (coded + kChunkEntryBytes * chunks.size() < elements.size()) {
        NWC_RETURN_IF_ERROR(CheckRoundTrip(*info, {}, chunks, elements));
        return writer_.AddTensor(std::move(*info), {}, chunks);
      }
      // Entropy coding does not pay: bytes as they are.
      info->profile_value = static_cast<uint8_t>(Profile::kRaw);
      packed->profile = Profile::kRaw;
      ChooseTiles(Profile::kRaw, info);
    }
    const auto chunks = CodeTiles(*info, elements, [](std::vector<uint8_t> tile) { return tile; });
    return writer_.AddTensor(std::move(*info), {}, chunks);
  }

  template <typename Coder>
  std::vector<std::vector<uint8_t>> CodeTiles(const TensorInfo& info, ByteSpan elements,
                                              const Coder& coder) {
    const size_t count = info.weights() == 0 ? 0 : info.grid_rows() * info.grid_columns();
    std::vector<std::vector<uint8_t>> chunks(count);
    pool_.ParallelFor(count,
                      [&](size_t i) { chunks[i] = coder(CopyTile(info, info.Tile(i), elements)); });
    return chunks;
  }

  Status PackStream(TensorInfo* info, const std::vector<uint8_t>& elements, const StepChoice& step,
                    PackedTensor* packed) {
    const TensorScales scales = MeasureScales(*info, elements);
    const SideInfo side = ChooseSideInfo(*info, scales, step.step_ratio);
    MarkUsedTables(side, &used_tables_);
    StreamInfo& stream = info->stream.emplace();
    stream.trellis = static_cast<uint8_t>(options_.trellis);
    stream.scale = static_cast<float>(step.step_ratio);
    stream.offset1 = static_cast<int8_t>(step.offset1);
    stream.offset2 = static_cast<int8_t>(step.offset2);
    if (!any_stream_) encode_tables_ = std::make_unique<StreamEncodeTables>(tables_);
    if (!any_stream_) decode_tables_ = std::make_shared<const StreamTables>(tables_);
    any_stream_ = true;

    const size_t count = info->grid_rows() * info->grid_columns();
    std::vector<std::vector<uint8_t>> chunks(count);
    std::vector<uint8_t> decoded(elements.size());
    std::vector<double> squared_error(count);
    pool_.ParallelFor(count, [&](size_t i) {
      const TileRange range = info->Tile(i);
      const std::vector<uint8_t> tile = CopyTile(*info, range, elements);
      std::vector<uint8_t> tile_decoded(tile.size());
      const SearchedTile found =
          SearchTile({info, &side, range, tile, tile_decoded}, costs_, kLambda);
      squared_error[i] = found.squared_error;
      const std::span rows(&side.row_table[range.row_begin], range.rows());
      const std::span columns(&side.column_table[range.column_begin], range.columns());
      chunks[i] = EncodeStreamChunk(found.tile, stream.trellis, rows, columns, *encode_tables_);
      PlaceTile(*info, range, tile_decoded, decoded);
    });
    const std::vector<uint8_t> side_bytes = SerializeSideInfo(side);
    stream.side.hash = Hash64(side_bytes);
    info->decoded_hash = Hash128Of(decoded);
    NWC_RETURN_IF_ERROR(CheckRoundTrip(*info, side_bytes, chunks, decoded));
    double error = 0, norm = 0;
    for (const double e : squared_error) error += e;
    for (const double r : scales.row_rms) norm += r * r * static_cast<double>(info->columns);
    packed->relative_mse = norm == 0 ? 0 : error / norm;
    return writer_.AddTensor(std::move(*info), side_bytes, chunks);
  }

  static void PlaceTile(const TensorInfo& info, const TileRange& range, ByteSpan tile,
                        MutableByteSpan whole) {
    const size_t size = DTypeSize(info.dtype);
    const size_t row_bytes = range.columns() * size;
    for (uint64_t j = 0; j < range.rows(); ++j) {
      const size_t to = ((range.row_begin + j) * info.columns + range.column_begin) * size;
      std::copy_n(&tile[j * row_bytes], row_bytes, &whole[to]);
    }
  }

  // Decodes every chunk with the decoder users have and compares with what it must give.
  Status CheckRoundTrip(const TensorInfo& info, ByteSpan side,
                        const std::vector<std::vector<uint8_t>>& chunks, ByteSpan expected) {
    if (!options_.roundtrip) return {};
    TensorInfo with_chunks = info;
    with_chunks.chunks.resize(chunks.size());
    NWC_ASSIGN_OR_RETURN(const ChunkDecoder decoder,
                         ChunkDecoder::Create(with_chunks, side, decode_tables_));
    std::vector<Status> failed(chunks.size());
    pool_.ParallelFor(chunks.size(), [&](size_t i) {
      const std::vector<uint8_t> wanted = CopyTile(info, info.Tile(i), expected);
      std::vector<uint8_t> tile(wanted.size());
      failed[i] = decoder.DecodeTile(i, chunks[i], tile);
      if (failed[i].ok() && tile != wanted) {
        failed[i] = Status(ErrorCode::kInternal,
                           "chunk " + std::to_string(i) + " does not decode to what was coded");
      }
    });
    for (Status& s : failed) NWC_RETURN_IF_ERROR(std::move(s));
    return {};
  }

  static constexpr uint64_t kChunkEntryBytes = 24;

  const TensorSource& source_;
  const PackOptions& options_;
  const ProgressCallback& progress_;
  const std::atomic<bool>* cancel_;
  ContainerWriter writer_;
  WorkerPool pool_;
  const CodecTables& tables_;
  const IndexCosts costs_;
  std::unique_ptr<StreamEncodeTables> encode_tables_;
  std::shared_ptr<const StreamTables> decode_tables_;
  std::vector<TensorPlan> plans_;
  std::map<double, StepChoice> steps_;  // by target bits
  TableUse used_tables_{};
  bool any_stream_ = false;
  PackReport report_;
  uint64_t bytes_done_ = 0, bytes_total_ = 0;
};

}  // namespace

Result<PackReport> Pack(const TensorSource& source, const std::vector<SourceFile>& files,
                        const PackOptions& options, ByteSink* sink,
                        const ProgressCallback& progress, const std::atomic<bool>* cancel) {
  try {
    return Packer(source, options, sink, progress, cancel).Run(files);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "not enough memory to pack; the largest tensor needs "
                  "about four times its size");
  }
}

Result<PackReport> PlanOnly(const TensorSource& source, const PackOptions& options) {
  std::vector<TensorPlan> plans;
  try {
    NWC_ASSIGN_OR_RETURN(plans, PlanTensors(source, options));
  } catch (const std::regex_error& e) {
    return BadSearch(e);
  }
  NWC_RETURN_IF_ERROR(CheckBits(plans));
  PackReport report;
  for (const TensorPlan& plan : plans) {
    PackedTensor t = Report(source.tensors()[plan.source], plan);
    const auto bytes = static_cast<double>(t.source_bytes);
    if (plan.profile == Profile::kStream) {
      t.packed_bytes = static_cast<uint64_t>(plan.bits * static_cast<double>(t.weights) / 8);
    } else if (plan.profile == Profile::kExact) {
      t.packed_bytes = static_cast<uint64_t>(bytes * ExactRatio(t.dtype));
    } else {
      t.packed_bytes = t.source_bytes;
    }
    report.file_bytes += t.packed_bytes;
    report.tensors.push_back(std::move(t));
  }
  Total(&report, 0);
  return report;
}

}  // namespace nwc
