#include "cuda/device_loader.h"

#include <chrono>
#include <utility>

#include "cuda/device_pipeline.h"
#include "cuda/model_codecs.h"
#include "loader/without_exceptions.h"

namespace nwc {

struct DeviceLoader::Impl {
  Impl(DeviceRuntime* device, const ModelLoader* loaded, DeviceLoadOptions how)
      : runtime(device), model(loaded), options(std::move(how)), codecs(device, loaded) {}

  DeviceRuntime* runtime;
  const ModelLoader* model;
  DeviceLoadOptions options;
  ModelCodecs codecs;
  PinnedBuffer pinned;  // to pin memory takes longer than to load a gigabyte
};

DeviceLoader::DeviceLoader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
DeviceLoader::~DeviceLoader() = default;

Result<std::unique_ptr<DeviceLoader>> DeviceLoader::Create(DeviceRuntime* runtime,
                                                           const ModelLoader* model,
                                                           DeviceLoadOptions options) {
  return WithoutExceptions(model->path(), [&]() -> Result<std::unique_ptr<DeviceLoader>> {
    auto impl = std::make_unique<Impl>(runtime, model, std::move(options));
    return std::unique_ptr<DeviceLoader>(new DeviceLoader(std::move(impl)));
  });
}

Status DeviceLoader::Stream(std::span<const TensorRequest> requests,
                            const std::function<Status(DeviceTensor)>& ready,
                            DeviceLoadStatistics* statistics, const std::atomic<bool>* cancel) {
  const auto begin = std::chrono::steady_clock::now();
  const uint64_t codec_bytes = impl_->codecs.bytes_read();
  const DevicePipelineInput input{impl_->runtime, impl_->model, &impl_->options, &impl_->codecs,
                                  &impl_->pinned, requests,     cancel};
  const Status status = RunDevicePipeline(input, ready, statistics);
  if (statistics != nullptr) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    statistics->seconds = seconds.count();
    statistics->bytes_read += impl_->codecs.bytes_read() - codec_bytes;
  }
  return status;
}

}  // namespace nwc
