// Speed of decoding on a GPU:
//
//   cuda_bench MODEL.nwc [--emulate]
//
// Loads the model, checks every tensor's decoded hash, and prints a table: copies to the device,
// kernels alone for each profile (whole model at once, so that nothing stays in the caches), and
// the load from file to decoded tensors. --emulate tries the program without a GPU: no figures.
#include <chrono>
#include <cstdio>
#include <cstring>

#include "cuda/decoder.h"
#include "loader/byte_source.h"
#include "tests/cuda/host_device.h"

namespace nwc {
namespace {

constexpr int kRepeats = 10;
constexpr double kGiga = 1e9;

struct Speed {
  std::string what;
  double bytes, seconds;
};

// Seconds of `work`, which enqueues on the default stream, by itself.
template <typename Work>
Result<double> SecondsOf(DeviceRuntime* device, int repeats, const Work& work) {
  NWC_ASSIGN_OR_RETURN(const OwnedEvent event, OwnedEvent::Create(device));
  const auto finish = [&]() -> Status {
    NWC_RETURN_IF_ERROR(device->Record(event.get(), nullptr));
    return device->Synchronize(event.get());
  };
  NWC_RETURN_IF_ERROR(work());
  NWC_RETURN_IF_ERROR(finish());
  const auto begin = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) NWC_RETURN_IF_ERROR(work());
  NWC_RETURN_IF_ERROR(finish());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  return seconds.count() / repeats;
}

// The chunks of all tensors of one profile, on the device.
class ProfileBench {
 public:
  ProfileBench(DeviceRuntime* device, const Loader& loader, NeuralArithmetic arithmetic)
      : device_(device), loader_(loader), batch_(arithmetic) {}

  Status Add(size_t number) {
    const TensorInfo& tensor = loader_.index().tensors[number];
    NWC_ASSIGN_OR_RETURN(const auto side, Read(tensor.side()));
    NWC_ASSIGN_OR_RETURN(DeviceCodec codec, CodecOf(number));
    NWC_ASSIGN_OR_RETURN(auto decoder, DeviceTensorDecoder::Create(device_, tensor, side,
                                                                   std::move(codec), nullptr));
    NWC_ASSIGN_OR_RETURN(DeviceBuffer out, DeviceBuffer::Allocate(device_, tensor.decoded_bytes()));
    for (size_t c = 0; c < tensor.chunks.size(); ++c) {
      const Extent extent{tensor.chunks[c].offset, tensor.chunks[c].size, 0};
      NWC_ASSIGN_OR_RETURN(const auto bytes, Read(&extent));
      NWC_ASSIGN_OR_RETURN(DeviceBuffer on_device,
                           DeviceBuffer::CopyOf(device_, std::span<const uint8_t>(bytes), nullptr));
      NWC_ASSIGN_OR_RETURN(DeviceBuffer latents,
                           DeviceBuffer::Allocate(device_, DecodeBatch::LatentBytes(*decoder, c)));
      batch_.Add({decoder.get(), c, bytes, on_device.address(), WholeSlice(tensor), out.address(),
                  latents.address()});
      buffers_.push_back(std::move(on_device));
      buffers_.push_back(std::move(latents));
    }
    bytes_ += tensor.decoded_bytes();
    buffers_.push_back(std::move(out));
    decoders_.push_back(std::move(decoder));
    return {};
  }

  Result<double> Seconds(int repeats) {
    std::vector<uint8_t> description(DecodeBatch::MaxDescriptionBytes(batch_.chunk_count()));
    NWC_ASSIGN_OR_RETURN(const DeviceBuffer described,
                         DeviceBuffer::Allocate(device_, description.size()));
    batch_.Describe(description, described.address());
    NWC_RETURN_IF_ERROR(device_->CopyToDevice(described.address(), description.data(),
                                              batch_.description_bytes(), nullptr));
    return SecondsOf(device_, repeats, [&] { return batch_.Launch(device_, nullptr); });
  }
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  Result<std::vector<uint8_t>> Read(const Extent* extent) const {
    std::vector<uint8_t> bytes(extent == nullptr ? 0 : extent->size);
    if (!bytes.empty()) NWC_RETURN_IF_ERROR(loader_.source().Read(extent->offset, bytes));
    return bytes;
  }

  Result<DeviceCodec> CodecOf(size_t number) {
    const TensorInfo& tensor = loader_.index().tensors[number];
    if (tensor.stream && codec_.stream == nullptr) {
      NWC_ASSIGN_OR_RETURN(const ChunkCodec host, loader_.CodecOf(number));
      NWC_ASSIGN_OR_RETURN(codec_.stream,
                           DeviceStreamTables::Upload(device_, host.stream, nullptr));
    }
    if (tensor.neural && codec_.neural == nullptr) {
      const NeuralCodecInfo& info = loader_.index().neural_codecs[tensor.neural->codec];
      NWC_ASSIGN_OR_RETURN(const auto bytes, Read(&info.extent));
      NWC_ASSIGN_OR_RETURN(const NeuralCodec host, ReadNeuralCodec(info, bytes));
      NWC_ASSIGN_OR_RETURN(codec_.neural, DeviceNeuralCodec::Upload(device_, host, nullptr));
    }
    return codec_;
  }

  DeviceRuntime* device_;
  const Loader& loader_;
  DeviceCodec codec_;  // of the first tensor; models have one
  DecodeBatch batch_;
  uint64_t bytes_ = 0;
  std::vector<DeviceBuffer> buffers_;
  std::vector<std::unique_ptr<DeviceTensorDecoder>> decoders_;
};

Result<Speed> BenchCopy(DeviceRuntime* device, int repeats) {
  constexpr size_t kBytes = 64 << 20;
  NWC_ASSIGN_OR_RETURN(const PinnedBuffer pinned, PinnedBuffer::Allocate(device, kBytes));
  NWC_ASSIGN_OR_RETURN(const DeviceBuffer there, DeviceBuffer::Allocate(device, kBytes));
  std::memset(pinned.span().data(), 1, kBytes);
  NWC_ASSIGN_OR_RETURN(const double seconds, SecondsOf(device, repeats, [&] {
                         return device->CopyToDevice(there.address(), pinned.span().data(), kBytes,
                                                     nullptr);
                       }));
  return Speed{"copy to the device", kBytes, seconds};
}

// Every supported tensor: loads it and compares its hash.
Status CheckHashes(DeviceRuntime* device, const Loader& loader, size_t* checked) {
  NWC_ASSIGN_OR_RETURN(const auto weights, DeviceLoader::Create(device, &loader, {}));
  std::vector<TensorRequest> requests;
  for (const size_t number : loader.All()) {
    if (loader.index().tensors[number].supported()) requests.push_back({number});
  }
  return weights->Stream(requests, [&](const DeviceTensor& tensor) -> Status {
    std::vector<uint8_t> bytes(tensor.info.decoded_bytes());
    if (!bytes.empty()) {
      NWC_ASSIGN_OR_RETURN(const OwnedEvent event, OwnedEvent::Create(device));
      NWC_RETURN_IF_ERROR(device->CopyToHost(bytes.data(), tensor.bytes, bytes.size(), nullptr));
      NWC_RETURN_IF_ERROR(device->Record(event.get(), nullptr));
      NWC_RETURN_IF_ERROR(device->Synchronize(event.get()));
    }
    if (Hash128Of(bytes) != tensor.info.decoded_hash) {
      return Status::Corrupt(29, "tensor '" + tensor.info.name + "' decodes to other bytes");
    }
    ++*checked;
    return {};
  });
}

Result<Speed> BenchLoad(DeviceRuntime* device, const Loader& loader, NeuralArithmetic arithmetic) {
  DeviceLoadOptions options;
  options.arithmetic = arithmetic;
  NWC_ASSIGN_OR_RETURN(const auto weights, DeviceLoader::Create(device, &loader, options));
  std::vector<TensorRequest> requests;
  for (const size_t number : loader.All()) {
    if (loader.index().tensors[number].supported()) requests.push_back({number});
  }
  DeviceLoadStatistics statistics;
  for (int i = 0; i < 3; ++i) {  // the last one finds file and codecs in memory
    NWC_RETURN_IF_ERROR(weights->Stream(
        requests, [](const DeviceTensor&) { return Status(); }, &statistics));
  }
  return Speed{"file to tensors", static_cast<double>(statistics.bytes_decoded),
               statistics.seconds};
}

Status BenchProfiles(DeviceRuntime* device, const Loader& loader, int repeats,
                     std::vector<Speed>* speeds) {
  for (const Profile profile : {Profile::kStream, Profile::kExact, Profile::kNwc}) {
    for (const auto arithmetic : {NeuralArithmetic::kSpecified, NeuralArithmetic::kTensorCores}) {
      const bool tensor_cores = arithmetic == NeuralArithmetic::kTensorCores;
      if (tensor_cores && profile != Profile::kNwc) continue;
      ProfileBench bench(device, loader, arithmetic);
      for (const size_t number : loader.All()) {
        const TensorInfo& tensor = loader.index().tensors[number];
        if (tensor.supported() && tensor.profile() == profile) {
          NWC_RETURN_IF_ERROR(bench.Add(number));
        }
      }
      if (bench.bytes() == 0) continue;
      NWC_ASSIGN_OR_RETURN(const double seconds, bench.Seconds(repeats));
      speeds->push_back({std::string("kernels of ") + ProfileName(profile) +
                             (tensor_cores ? ", tensor cores" : ""),
                         static_cast<double>(bench.bytes()), seconds});
    }
  }
  return {};
}

Status Run(const char* path, bool emulate) {
  std::unique_ptr<DeviceRuntime> device = std::make_unique<HostDevice>();
  if (!emulate) {
    NWC_ASSIGN_OR_RETURN(device, OpenCudaDevice());
  }
  const int repeats = emulate ? 1 : kRepeats;
  NWC_ASSIGN_OR_RETURN(const auto loader, Loader::Open(path, {}));
  size_t checked = 0;
  NWC_RETURN_IF_ERROR(CheckHashes(device.get(), *loader, &checked));
  std::printf("%s: %zu tensors decode to the file's hashes on %s\n\n", path, checked,
              device->name().c_str());
  std::vector<Speed> speeds;
  NWC_ASSIGN_OR_RETURN(const Speed copy, BenchCopy(device.get(), repeats));
  speeds.push_back(copy);
  NWC_RETURN_IF_ERROR(BenchProfiles(device.get(), *loader, repeats, &speeds));
  NWC_ASSIGN_OR_RETURN(const Speed load,
                       BenchLoad(device.get(), *loader, NeuralArithmetic::kTensorCores));
  speeds.push_back(load);
  std::printf("| what | GB | GB/s |\n|---|---|---|\n");
  for (const Speed& s : speeds) {
    if (emulate) {
      std::printf("| %s | %.4f | not run on a GPU |\n", s.what.c_str(), s.bytes / kGiga);
    } else {
      std::printf("| %s | %.4f | %.1f |\n", s.what.c_str(), s.bytes / kGiga,
                  s.bytes / kGiga / s.seconds);
    }
  }
  return {};
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) {
  const bool emulate = argc == 3 && std::strcmp(argv[2], "--emulate") == 0;
  if (argc != 2 && !emulate) {
    std::fprintf(stderr, "usage: cuda_bench MODEL.nwc [--emulate]\n");
    return 2;
  }
  const nwc::Status status = nwc::Run(argv[1], emulate);
  if (status.ok()) return 0;
  std::fprintf(stderr, "cuda_bench: %s\n", status.ToString().c_str());
  return nwc::ExitCode(status.code());
}
