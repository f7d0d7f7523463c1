#include "tools/device_speed.h"

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "tools/stop_signals.h"

namespace nwc {
namespace {

constexpr uint64_t kSampleBytes = 512 << 20;  // decoded, a profile
constexpr size_t kPieceBytes = 2 << 20;       // the largest read of DeviceLoader
constexpr size_t kCeilingBytes = 64 << 20;
constexpr int kMaxRepeats = 64;  // of a sample that is small

// Tensors as they are stored, and their numbers in the model.
struct Sample {
  std::vector<PackedTensorBytes> tensors;
  std::vector<size_t> numbers;
};

Result<Sample> ReadModelSample(const ModelLoader& model) {
  std::unordered_map<const TensorInfo*, size_t> numbers;
  for (const size_t number : model.All()) numbers.emplace(&model.tensor(number), number);
  Sample sample;
  for (size_t s = 0; s < model.shard_count(); ++s) {
    NWC_ASSIGN_OR_RETURN(auto stored,
                         ReadSample(model.shard(s), kSampleBytes / model.shard_count()));
    for (PackedTensorBytes& tensor : stored) {
      tensor.decoded = {};  // only the device decodes
      sample.numbers.push_back(numbers.at(tensor.info));
      sample.tensors.push_back(std::move(tensor));
    }
  }
  return sample;
}

// Times `enqueue`, which works on the default stream, until all of it is done.
Status TimeOnDevice(DeviceRuntime* device, int runs, const std::function<Status()>& enqueue,
                    Speed* speed) {
  NWC_ASSIGN_OR_RETURN(const OwnedEvent done, OwnedEvent::Create(device));
  Status status;
  const auto once = [&]() -> Status {
    NWC_RETURN_IF_ERROR(enqueue());
    NWC_RETURN_IF_ERROR(device->Record(done.get(), nullptr));
    return device->Synchronize(done.get());
  };
  TimeRuns(
      runs,
      [&] {
        if (status.ok()) status = once();
      },
      speed);
  return status;
}

// The chunks of all sampled tensors of one profile, on the device.
class DecodeStage {
 public:
  DecodeStage(DeviceRuntime* device, NeuralArithmetic arithmetic)
      : device_(device), batch_(device->max_shared_bytes(), arithmetic) {}

  Status Add(const PackedTensorBytes& tensor, DeviceCodec codec) {
    const TensorInfo& info = *tensor.info;
    const int qualities = codec.neural != nullptr ? codec.neural->settings().qualities : 0;
    NWC_ASSIGN_OR_RETURN(TensorFacts facts, ParseTensorFacts(info, tensor.side(), qualities));
    NWC_ASSIGN_OR_RETURN(DeviceBuffer memory, DeviceBuffer::Allocate(device_, FactBytes(info)));
    NWC_ASSIGN_OR_RETURN(
        auto decoder, DeviceTensorDecoder::Create(device_, info, std::move(facts), std::move(codec),
                                                  memory.address(), nullptr));
    buffers_.push_back(std::move(memory));
    NWC_ASSIGN_OR_RETURN(DeviceBuffer out, DeviceBuffer::Allocate(device_, info.decoded_bytes()));
    const ByteSpan stored = tensor.stored.span();
    NWC_ASSIGN_OR_RETURN(DeviceBuffer there, DeviceBuffer::CopyOf(device_, stored, nullptr));
    uint64_t latent_bytes = 0;
    for (size_t c = 0; c < info.chunks.size(); ++c) {
      latent_bytes += DecodeBatch::LatentBytes(*decoder, c);
    }
    NWC_ASSIGN_OR_RETURN(DeviceBuffer latents, DeviceBuffer::Allocate(device_, latent_bytes));
    uint64_t latents_at = 0;
    for (size_t c = 0; c < info.chunks.size(); ++c) {
      const ByteSpan bytes = tensor.chunk(c);
      const auto at = static_cast<size_t>(bytes.data() - stored.data());
      batch_.Add({decoder.get(), c, bytes, there.address() + at, WholeSlice(info), out.address(),
                  latents.address() + latents_at});
      latents_at += DecodeBatch::LatentBytes(*decoder, c);
    }
    buffers_.push_back(std::move(there));
    buffers_.push_back(std::move(latents));
    ++speed_.tensors;
    speed_.weights += info.weights();
    speed_.stored_bytes += info.payload_bytes();
    speed_.decoded_bytes += info.decoded_bytes();
    buffers_.push_back(std::move(out));
    decoders_.push_back(std::move(decoder));
    return {};
  }

  Result<Speed> Measure(int runs) {
    std::vector<uint8_t> description(DecodeBatch::MaxDescriptionBytes(batch_.chunk_count()));
    NWC_ASSIGN_OR_RETURN(const DeviceBuffer described,
                         DeviceBuffer::Allocate(device_, description.size()));
    batch_.Describe(description, described.address());
    NWC_RETURN_IF_ERROR(device_->CopyToDevice(described.address(), description.data(),
                                              batch_.description_bytes(), nullptr));
    NWC_RETURN_IF_ERROR(TimeOnDevice(
        device_, runs, [&] { return batch_.Launch(device_, nullptr); }, &speed_));
    return speed_;
  }
  [[nodiscard]] bool empty() const { return speed_.tensors == 0; }
  [[nodiscard]] uint64_t decoded_bytes() const { return speed_.decoded_bytes; }

 private:
  DeviceRuntime* device_;
  DecodeBatch batch_;
  Speed speed_;
  std::vector<DeviceBuffer> buffers_;
  std::vector<std::unique_ptr<DeviceTensorDecoder>> decoders_;
};

// The sample again and again, each time in memory of its own, until it fills the device.
Status FillStage(const Sample& sample, Profile profile, uint64_t decoded_bytes, ModelCodecs* codecs,
                 DecodeStage* stage) {
  for (int repeat = 0; repeat < kMaxRepeats; ++repeat) {
    for (size_t i = 0; i < sample.tensors.size(); ++i) {
      if (sample.tensors[i].info->profile() != profile) continue;
      NWC_ASSIGN_OR_RETURN(DeviceCodec codec, codecs->Of(sample.numbers[i], nullptr));
      NWC_RETURN_IF_ERROR(stage->Add(sample.tensors[i], std::move(codec)));
    }
    if (stage->empty() || stage->decoded_bytes() >= decoded_bytes) break;
  }
  return {};
}

Status MeasureDecoding(DeviceRuntime* device, const ModelLoader& model, const Sample& sample,
                       const DeviceBenchOptions& options, std::vector<DeviceDecodeSpeed>* speeds) {
  ModelCodecs codecs(device, &model);
  for (const Profile profile : {Profile::kStream, Profile::kExact, Profile::kNwc, Profile::kRaw}) {
    for (const auto arithmetic : {NeuralArithmetic::kSpecified, NeuralArithmetic::kTensorCores}) {
      const bool tensor_cores = arithmetic == NeuralArithmetic::kTensorCores;
      if (tensor_cores && profile != Profile::kNwc) continue;
      DecodeStage stage(device, arithmetic);
      // Nets have enough to do with any sample.
      const uint64_t least = profile == Profile::kNwc ? 0 : options.decoded_bytes;
      NWC_RETURN_IF_ERROR(FillStage(sample, profile, least, &codecs, &stage));
      if (stage.empty()) continue;
      NWC_ASSIGN_OR_RETURN(const Speed speed, stage.Measure(options.runs));
      speeds->push_back({profile, tensor_cores, speed});
    }
  }
  return {};
}

// Copies `pieces` times `piece_bytes`.
Result<Speed> MeasureCopy(DeviceRuntime* device, size_t piece_bytes, size_t pieces, int runs) {
  const size_t all = piece_bytes * pieces;
  NWC_ASSIGN_OR_RETURN(const PinnedBuffer pinned, PinnedBuffer::Allocate(device, all));
  NWC_ASSIGN_OR_RETURN(const DeviceBuffer there, DeviceBuffer::Allocate(device, all));
  std::memset(pinned.span().data(), 1, all);
  Speed speed;
  speed.stored_bytes = all;
  const auto copy = [&]() -> Status {
    for (size_t at = 0; at < all; at += piece_bytes) {
      NWC_RETURN_IF_ERROR(device->CopyToDevice(there.address() + at, pinned.span().data() + at,
                                               piece_bytes, nullptr));
    }
    return {};
  };
  NWC_RETURN_IF_ERROR(TimeOnDevice(device, runs, copy, &speed));
  return speed;
}

// The first stored bytes of a shard, as far as the sample goes.
Result<Speed> MeasureRead(const ModelLoader& model, const Sample& sample, int runs) {
  uint64_t begin = UINT64_MAX, end = 0;
  for (const PackedTensorBytes& tensor : sample.tensors) {
    if (tensor.info < &model.shard(0).index().tensors.front() ||
        tensor.info > &model.shard(0).index().tensors.back()) {
      continue;
    }
    begin = std::min(begin, tensor.begin());
    end = std::max(end, tensor.begin() + tensor.stored.size());
  }
  Speed speed;
  if (begin >= end) return speed;
  speed.stored_bytes = std::min(end - begin, kSampleBytes);
  AlignedBuffer buffer;
  Status status;
  TimeRuns(
      runs,
      [&] {
        if (!status.ok()) return;
        status = model.shard(0).ReadRange(begin, speed.stored_bytes, &buffer, &StopRequested());
      },
      &speed);
  NWC_RETURN_IF_ERROR(status);
  return speed;
}

std::string ReadBy(size_t threads) {
  return "; the load read by " + std::to_string(threads) + (threads == 1 ? " thread" : " threads");
}

// What a tensor of so many bytes takes of it, so that all begin at a multiple of 256.
uint64_t Room(uint64_t size_bytes) { return AlignUp(size_bytes, 256); }

// Memory for tensors that nobody looks at: begins again where it ends.
class OutputRing {
 public:
  // For one tensor after the other of at most these bytes each.
  static Result<OutputRing> Allocate(DeviceRuntime* device, uint64_t largest, uint64_t all) {
    const uint64_t size_bytes = std::min(all, std::max(kOutputBytes, 2 * largest));
    OutputRing ring;
    NWC_ASSIGN_OR_RETURN(ring.memory_, DeviceBuffer::Allocate(device, size_bytes));
    return ring;
  }
  DeviceAddress Take(uint64_t size_bytes) {
    if (size_bytes > memory_.size() - at_) at_ = 0;
    const DeviceAddress address = memory_.address() + at_;
    at_ += size_bytes;
    return address;
  }

 private:
  static constexpr uint64_t kOutputBytes = 2ull << 30;
  DeviceBuffer memory_;
  uint64_t at_ = 0;
};

// Of all tensors, into memory that is there; with `check` once, into the loader's own, and every
// decoded hash compared.
Result<Speed> MeasureLoad(DeviceRuntime* device, const ModelLoader& model, int runs, bool check,
                          std::string* how) {
  DeviceLoadOptions options;
  options.verify_decoded = check;
  const std::string io = model.io_description();
  std::vector<TensorRequest> requests;
  Speed speed;
  uint64_t largest = 0, all = 0;
  for (const size_t number : model.All()) {
    const TensorInfo& info = model.tensor(number);
    if (!info.supported()) continue;
    requests.push_back({number});
    ++speed.tensors;
    speed.weights += info.weights();
    largest = std::max(largest, Room(info.decoded_bytes()));
    all += Room(info.decoded_bytes());
  }
  OutputRing outputs;
  if (!check) {
    NWC_ASSIGN_OR_RETURN(outputs, OutputRing::Allocate(device, largest, all));
    options.allocate = [&outputs](const TensorInfo&, const TensorSlice&,
                                  size_t size_bytes) -> Result<DeviceAddress> {
      return outputs.Take(Room(size_bytes));
    };
  }
  NWC_ASSIGN_OR_RETURN(const auto weights, DeviceLoader::Create(device, &model, options));
  std::vector<double> seconds;
  for (int run = 0; run < (check ? 1 : runs); ++run) {
    DeviceLoadStatistics statistics;
    NWC_RETURN_IF_ERROR(weights->Stream(
        requests, [](const DeviceTensor&) { return Status(); }, &statistics, &StopRequested()));
    speed.stored_bytes = statistics.bytes_read;
    speed.decoded_bytes = statistics.bytes_decoded;
    if (!check && statistics.reading_threads > 0) *how = io + ReadBy(statistics.reading_threads);
    seconds.push_back(statistics.seconds);
  }
  std::sort(seconds.begin(), seconds.end());
  speed.fastest_seconds = seconds.front();
  speed.seconds = seconds[seconds.size() / 2];
  return speed;
}

}  // namespace

Result<DeviceSpeeds> MeasureDevice(
    DeviceRuntime* device, const ModelLoader& model, const DeviceBenchOptions& options,
    const std::function<Status(const char* what, uint64_t step)>& begin) {
  const int runs = options.runs;
  DeviceSpeeds speeds;
  speeds.device = device->name();
  speeds.io = model.io_description();
  NWC_RETURN_IF_ERROR(begin("decoded hashes", 1));
  NWC_ASSIGN_OR_RETURN(const Speed checked, MeasureLoad(device, model, 1, true, &speeds.io));
  speeds.tensors = checked.tensors;
  NWC_ASSIGN_OR_RETURN(const Sample sample, ReadModelSample(model));
  NWC_RETURN_IF_ERROR(begin("read", 2));
  NWC_ASSIGN_OR_RETURN(speeds.read, MeasureRead(model, sample, runs));
  NWC_RETURN_IF_ERROR(begin("hash", 3));
  speeds.hash = MeasureHash(sample.tensors, runs);
  NWC_RETURN_IF_ERROR(begin("copy to the device", 4));
  NWC_ASSIGN_OR_RETURN(speeds.copy,
                       MeasureCopy(device, kPieceBytes, kCeilingBytes / kPieceBytes, runs));
  NWC_ASSIGN_OR_RETURN(speeds.ceiling, MeasureCopy(device, kCeilingBytes, 1, runs));
  NWC_RETURN_IF_ERROR(begin("decode", 5));
  NWC_RETURN_IF_ERROR(MeasureDecoding(device, model, sample, options, &speeds.decode));
  NWC_RETURN_IF_ERROR(begin("load", 6));
  NWC_ASSIGN_OR_RETURN(speeds.load, MeasureLoad(device, model, runs, false, &speeds.io));
  return speeds;
}

}  // namespace nwc
