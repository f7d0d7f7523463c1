#include "cuda/device_loader.h"

#include <chrono>
#include <map>
#include <utility>

#include "cuda/device_pipeline.h"
#include "loader/byte_source.h"
#include "loader/io_choice.h"
#include "loader/read_piece.h"
#include "loader/without_exceptions.h"

namespace nwc {

struct DeviceLoader::Impl {
  DeviceRuntime* runtime;
  const Loader* loader;
  DeviceLoadOptions options;
  IoChoice io;
  uint64_t codec_bytes_read = 0;
  std::map<uint16_t, std::shared_ptr<const DeviceStreamTables>> stream_codecs;
  std::map<uint16_t, std::shared_ptr<const DeviceNeuralCodec>> neural_codecs;

  // Uploads it when it is first needed.
  Result<DeviceCodec> CodecOf(size_t number, DeviceStream stream);
};

Result<DeviceCodec> DeviceLoader::Impl::CodecOf(size_t number, DeviceStream stream) {
  const TensorInfo& tensor = loader->index().tensors[number];
  DeviceCodec codec;
  if (tensor.stream) {
    auto& known = stream_codecs[tensor.stream->codec];
    if (known == nullptr) {
      NWC_ASSIGN_OR_RETURN(const ChunkCodec host, loader->CodecOf(number));
      NWC_ASSIGN_OR_RETURN(known, DeviceStreamTables::Upload(runtime, host.stream, stream));
    }
    codec.stream = known;
  } else if (tensor.neural) {
    auto& known = neural_codecs[tensor.neural->codec];
    if (known == nullptr) {
      const NeuralCodecInfo& info = loader->index().neural_codecs[tensor.neural->codec];
      NWC_ASSIGN_OR_RETURN(const NeuralCodec host,
                           ReadNeuralCodecFrom(loader->source(), info, nullptr));
      codec_bytes_read += info.extent.size;
      NWC_ASSIGN_OR_RETURN(known, DeviceNeuralCodec::Upload(runtime, host, stream));
    }
    codec.neural = known;
  }
  return codec;
}

DeviceLoader::DeviceLoader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DeviceLoader::~DeviceLoader() = default;

Result<std::unique_ptr<DeviceLoader>> DeviceLoader::Create(DeviceRuntime* runtime,
                                                           const Loader* loader,
                                                           DeviceLoadOptions options) {
  return WithoutExceptions(loader->path(), [&]() -> Result<std::unique_ptr<DeviceLoader>> {
    auto impl = std::make_unique<Impl>();
    impl->runtime = runtime;
    impl->loader = loader;
    NWC_ASSIGN_OR_RETURN(impl->io, ChooseIo(loader->source(), options.io));
    impl->options = std::move(options);
    return std::unique_ptr<DeviceLoader>(new DeviceLoader(std::move(impl)));
  });
}

Status DeviceLoader::Stream(std::span<const TensorRequest> requests,
                            const std::function<Status(DeviceTensor)>& ready,
                            DeviceLoadStatistics* statistics, const std::atomic<bool>* cancel) {
  return WithoutExceptions(impl_->loader->path(), [&]() -> Status {
    const auto begin = std::chrono::steady_clock::now();
    impl_->codec_bytes_read = 0;
    DevicePipelineInput input;
    input.runtime = impl_->runtime;
    input.loader = impl_->loader;
    input.options = &impl_->options;
    input.io = &impl_->io;
    input.requests = requests;
    input.cancel = cancel;
    input.codec = [this](size_t number, DeviceStream stream) {
      return impl_->CodecOf(number, stream);
    };
    const Status status = DevicePipeline(input).Run(ready, statistics);
    if (statistics != nullptr) {
      const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
      statistics->seconds = seconds.count();
      statistics->bytes_read += impl_->codec_bytes_read;
    }
    return status;
  });
}

}  // namespace nwc
