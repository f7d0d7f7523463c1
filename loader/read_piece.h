// Small pieces of payload that are read whole: files, and the nets of `nwc` tensors.
#pragma once

#include <atomic>

#include "format/index.h"
#include "format/neural_codec.h"
#include "loader/byte_source.h"

namespace nwc {

// kCancelled as soon as *cancel is true, which may be null.
Status ReadPiece(const ByteSource& source, const Extent& extent, MutableByteSpan destination,
                 const std::atomic<bool>* cancel);

// The codec that `info` of the container in `source` describes, checked. An error says which file,
// codec and byte.
Result<NeuralCodec> ReadNeuralCodecFrom(const ByteSource& source, const NeuralCodecInfo& info,
                                        const std::atomic<bool>* cancel);

}  // namespace nwc
