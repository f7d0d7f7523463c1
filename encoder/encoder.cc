#include "encoder/encoder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <regex>

#include "encoder/coded_tensor.h"
#include "encoder/neural_coder.h"
#include "encoder/pack_store.h"
#include "encoder/policy.h"
#include "encoder/rate_control.h"
#include "encoder/scope_seconds.h"
#include "encoder/stream_coder.h"
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

// Tensors under one constant: those of one target rate, with statistics or without.
using GroupKey = std::pair<double, bool>;

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
        pool_(options.threads) {
    stream_options_.trellis = options.trellis;
    stream_options_.lambda = options.lambda;
    stream_options_.importance = options.importance;
    stream_options_.statistics = options.statistics;
  }

  Result<PackReport> Run(const std::vector<SourceFile>& files) {
    NWC_ASSIGN_OR_RETURN(plans_, PlanTensors(source_, options_));
    NWC_RETURN_IF_ERROR(CheckBits(plans_));
    NWC_RETURN_IF_ERROR(PrepareNeural());
    NWC_RETURN_IF_ERROR(ControlRates());
    {
      const ScopeSeconds timed(&report_.seconds.writing);
      for (const SourceFile& f : files) NWC_RETURN_IF_ERROR(writer_.AddFile(f.name, f.content));
    }
    uint64_t codec_bytes = 0;
    if (neural_ != nullptr) {
      NWC_ASSIGN_OR_RETURN(neural_codec_, writer_.AddNeuralCodec(options_.neural->synthesis));
      NWC_ASSIGN_OR_RETURN(const auto net, SerializeNeuralCodec(options_.neural->synthesis));
      codec_bytes += net.size();
    }
    for (const ShardInfo& s : source_.shards()) writer_.AddShard(s);
    for (const TensorPlan& p : plans_) bytes_total_ += SourceBytes(p);
    PlanTuning();
    Tell("packing", "", 0, bytes_total_);
    for (const TensorPlan& p : plans_) NWC_RETURN_IF_ERROR(PackTensor(p));
    codec_bytes += AddCodecs();
    writer_.SetProducer(options_.producer);
    writer_.SetOptions(OptionsJson(options_));
    NWC_RETURN_IF_ERROR(Stopped());
    {
      const ScopeSeconds timed(&report_.seconds.writing);
      NWC_RETURN_IF_ERROR(writer_.Finish());
    }
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

  void Tell(const std::string& stage, const std::string& tensor, uint64_t done,
            uint64_t total) const {
    if (progress_) progress_({stage, tensor, done, total});
  }

  [[nodiscard]] GroupKey GroupOf(const TensorPlan& p) const {
    return {p.bits, options_.statistics != nullptr &&
                        options_.statistics->Has(source_.tensors()[p.source].name)};
  }

  Status ControlRates() {
    std::map<GroupKey, std::vector<TensorPlan>> groups;
    for (const TensorPlan& p : plans_) {
      if (p.profile == Profile::kStream) groups[GroupOf(p)].push_back(p);
    }
    for (const auto& [key, plans] : groups) {
      NWC_ASSIGN_OR_RETURN(StreamChoice choice, ChooseStream(key, plans));
      coders_.try_emplace(key, stream_options_, std::move(choice), options_.roundtrip);
    }
    return {};
  }

  Status PrepareNeural() {
    const bool any = std::any_of(plans_.begin(), plans_.end(),
                                 [](const TensorPlan& p) { return p.profile == Profile::kNwc; });
    if (!any) return {};
    if (options_.neural == nullptr) {
      return Status(ErrorCode::kUsage, "profile nwc needs a trained codec; nwc-train makes one");
    }
    NWC_RETURN_IF_ERROR(CheckNeuralModel(*options_.neural));
    neural_ = std::make_unique<NeuralCoder>(*options_.neural, options_.importance,
                                            options_.statistics, options_.roundtrip);
    return {};
  }

  Result<StreamChoice> ChooseStream(const GroupKey& key, const std::vector<TensorPlan>& plans) {
    const std::string part = "choice-" + std::to_string(coders_.size());
    NWC_ASSIGN_OR_RETURN(const auto stored, Stored(part));
    if (stored) {
      auto choice = ParseStreamChoice(*stored);
      if (choice.ok()) return choice;
    }
    RateControl control(source_, stream_options_, DefaultCodec().tables, &pool_);
    const auto tell = [&](uint64_t done, uint64_t total) {
      Tell("rate control", std::to_string(key.first) + " bits", done, total);
    };
    {
      const ScopeSeconds timed(&report_.seconds.analysis);
      NWC_RETURN_IF_ERROR(control.Analyse(plans, tell, cancel_));
    }
    const ScopeSeconds timed(&report_.seconds.rate_control);
    NWC_ASSIGN_OR_RETURN(StreamChoice choice, control.Find(key.first, cancel_));
    NWC_RETURN_IF_ERROR(Store(part, [&] { return SerializeStreamChoice(choice); }));
    return choice;
  }

  // What an earlier run kept of this part.
  [[nodiscard]] Result<std::optional<std::vector<uint8_t>>> Stored(const std::string& part) const {
    if (options_.store == nullptr) return std::optional<std::vector<uint8_t>>();
    return options_.store->load(part);
  }

  template <typename Serialize>
  Status Store(const std::string& part, const Serialize& serialize) const {
    return options_.store == nullptr ? Status() : options_.store->save(part, serialize());
  }

  uint64_t AddCodecs() {
    uint64_t bytes = 0;
    for (const StreamCoder* coder : codecs_) {
      CodecInfo codec = DefaultCodec();
      codec.tables = coder->UsedTables();
      bytes += CodecBytes(codec.tables);
      writer_.AddCodec(std::move(codec));
    }
    return bytes;
  }

  // Its position among the container's codecs; groups are numbered as they first occur.
  uint16_t CodecOf(const StreamCoder& coder) {
    const auto known = std::find(codecs_.begin(), codecs_.end(), &coder);
    const auto number = static_cast<uint16_t>(known - codecs_.begin());
    if (known == codecs_.end()) codecs_.push_back(&coder);
    return number;
  }

  void PlanTuning() {
    if (options_.tuner == nullptr) return;
    std::vector<size_t> tensors;
    for (const TensorPlan& p : plans_) {
      if (p.profile == Profile::kStream) tensors.push_back(p.source);
    }
    options_.tuner->Plan(tensors);
  }

  // Tells the tuner what a reader will decode of a tensor that was to be `stream`.
  Status TellTuner(const TensorPlan& plan, const CodedTensor& coded, ByteSpan elements) {
    if (!coded.info.stream) return options_.tuner->Coded(plan.source, elements, false);
    NWC_ASSIGN_OR_RETURN(const auto decoded,
                         DecodeTensor(coded, coders_.at(GroupOf(plan)).decode_tables(), &pool_));
    return options_.tuner->Coded(plan.source, decoded, true);
  }

  // Codes a tensor, or takes it from the store.
  Result<CodedTensor> Code(const TensorPlan& plan, TensorInfo info, ByteSpan elements) {
    const std::string part =
        "tensor-" + std::to_string(report_.tensors.size()) + "-" + ToHex(Hash64(elements));
    const ScopeSeconds timed(&report_.seconds.coding);
    StreamCoder* coder = plan.profile == Profile::kStream ? &coders_.at(GroupOf(plan)) : nullptr;
    const uint16_t codec = coder == nullptr ? uint16_t{0} : CodecOf(*coder);
    NWC_ASSIGN_OR_RETURN(const auto stored, Stored(part));
    if (stored) {
      auto coded = ParseCodedTensor(*stored, info);
      if (coded.ok() && (coder == nullptr || coder->NoteUse(*coded).ok())) return coded;
    }
    auto made = coder != nullptr ? coder->Code(std::move(info), elements, codec, &pool_)
                : plan.profile == Profile::kNwc
                    ? neural_->Code(std::move(info), elements, neural_codec_, &pool_)
                    : Lossless(std::move(info), elements);
    NWC_ASSIGN_OR_RETURN(CodedTensor coded, std::move(made));
    NWC_RETURN_IF_ERROR(Store(part, [&] { return SerializeCodedTensor(coded); }));
    return coded;
  }

  Result<CodedTensor> Lossless(TensorInfo info, ByteSpan elements) {
    CodedTensor coded = CodeLossless(std::move(info), elements, &pool_);
    if (options_.roundtrip && coded.info.profile() != Profile::kRaw) {
      NWC_RETURN_IF_ERROR(CheckRoundTrip(coded, elements, nullptr, &pool_));
    }
    return coded;
  }

  Status ReadTensor(const TensorPlan& plan, MutableByteSpan elements) {
    const ScopeSeconds timed(&report_.seconds.reading);
    return source_.Read(plan.source, elements);
  }

  Status Tune(const TensorPlan& plan, MutableByteSpan elements) {
    if (options_.tuner == nullptr) return {};
    const ScopeSeconds timed(&report_.seconds.tuning);
    return options_.tuner->Tune(plan.source, elements);
  }

  Status WriteTensor(CodedTensor coded) {
    const ScopeSeconds timed(&report_.seconds.writing);
    return writer_.AddTensor(std::move(coded.info), coded.side, coded.chunks);
  }

  Status PackTensor(const TensorPlan& planned) {
    NWC_RETURN_IF_ERROR(Stopped());
    const SourceTensor& source = source_.tensors()[planned.source];
    TensorPlan plan = planned;
    std::vector<uint8_t> elements(SourceBytes(plan));
    NWC_RETURN_IF_ERROR(ReadTensor(plan, elements));
    TensorInfo info = DescribeTensor(source, plan);
    if (plan.profile == Profile::kStream) {
      if (const std::string why = WhyNotStream(info, elements); !why.empty()) {
        plan.profile = Profile::kExact;
        plan.note = why;
        info = DescribeTensor(source, plan);
      } else {
        NWC_RETURN_IF_ERROR(Tune(plan, elements));
      }
    }
    auto coded = Code(plan, std::move(info), elements);
    if (!coded.ok()) return coded.status().WithContext("tensor '" + source.name + "'");
    if (options_.tuner != nullptr && planned.profile == Profile::kStream) {
      NWC_RETURN_IF_ERROR(TellTuner(planned, *coded, elements));
    }
    PackedTensor packed = Report(source, plan);
    packed.profile = coded->info.profile();
    packed.relative_mse = coded->relative_mse;
    packed.kl = coded->kl;
    NWC_RETURN_IF_ERROR(WriteTensor(std::move(*coded)));
    const TensorInfo& written = writer_.index().tensors.back();
    packed.packed_bytes = written.payload_bytes() + kChunkEntryBytes * written.chunks.size();
    bytes_done_ += packed.source_bytes;
    Tell("packing", packed.name, bytes_done_, bytes_total_);
    report_.tensors.push_back(std::move(packed));
    return {};
  }

  const TensorSource& source_;
  const PackOptions& options_;
  const ProgressCallback& progress_;
  const std::atomic<bool>* cancel_;
  ContainerWriter writer_;
  WorkerPool pool_;
  StreamOptions stream_options_;
  std::unique_ptr<NeuralCoder> neural_;
  uint16_t neural_codec_ = 0;
  std::map<GroupKey, StreamCoder> coders_;
  std::vector<const StreamCoder*> codecs_;  // by number
  std::vector<TensorPlan> plans_;
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
    if (plan.profile == Profile::kStream || plan.profile == Profile::kNwc) {
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
