// The codecs of a model's tensors on a device, each uploaded when it is first needed.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "cuda/device_codec.h"
#include "loader/model_loader.h"

namespace nwc {

// For one thread. Runtime and model outlive it.
class ModelCodecs {
 public:
  ModelCodecs(DeviceRuntime* runtime, const ModelLoader* model)
      : runtime_(runtime), model_(model) {}

  // Of tensor `number` of the model; usable by what follows on the stream. kCancelled soon after
  // *cancel is set, which may be null.
  Result<DeviceCodec> Of(size_t number, DeviceStream stream,
                         const std::atomic<bool>* cancel = nullptr);
  [[nodiscard]] uint64_t bytes_read() const { return bytes_read_; }  // from the files, so far

 private:
  using Place = std::pair<size_t, uint16_t>;  // shard, position there

  DeviceRuntime* runtime_;
  const ModelLoader* model_;
  uint64_t bytes_read_ = 0;
  std::map<Place, std::shared_ptr<const DeviceStreamTables>> stream_;
  std::map<Place, std::shared_ptr<const DeviceNeuralCodec>> neural_;
};

}  // namespace nwc
