#include "cuda/model_codecs.h"

#include "loader/io_choice.h"
#include "loader/read_piece.h"

namespace nwc {

Result<DeviceCodec> ModelCodecs::Of(size_t number, DeviceStream stream,
                                    const std::atomic<bool>* cancel) {
  const ShardPlace& place = model_->place(number);
  const Loader& shard = model_->shard(place.shard);
  const TensorInfo& tensor = shard.index().tensors[place.number];
  DeviceCodec codec;
  if (tensor.stream) {
    auto& known = stream_[{place.shard, tensor.stream->codec}];
    if (known == nullptr) {
      NWC_ASSIGN_OR_RETURN(const ChunkCodec host, shard.CodecOf(place.number));
      NWC_ASSIGN_OR_RETURN(known, DeviceStreamTables::Upload(runtime_, host.stream, stream));
    }
    codec.stream = known;
  } else if (tensor.neural) {
    auto& known = neural_[{place.shard, tensor.neural->codec}];
    if (known == nullptr) {
      const NeuralCodecInfo& info = shard.index().neural_codecs[tensor.neural->codec];
      NWC_ASSIGN_OR_RETURN(const NeuralCodec host,
                           ReadNeuralCodecFrom(*shard.io().from.source, info, cancel));
      bytes_read_ += info.extent.size;
      NWC_ASSIGN_OR_RETURN(known, DeviceNeuralCodec::Upload(runtime_, host, stream));
    }
    codec.neural = known;
  }
  return codec;
}

}  // namespace nwc
