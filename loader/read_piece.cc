#include "loader/read_piece.h"

#include <string>
#include <vector>

#include "loader/file_source.h"

namespace nwc {

Status ReadPiece(const ByteSource& source, const Extent& extent, MutableByteSpan destination,
                 const std::atomic<bool>* cancel) {
  if (cancel == nullptr) return source.Read(extent.offset, destination);
  return source.ReadUnlessStopped(extent.offset, destination, *cancel);
}

Result<NeuralCodec> ReadNeuralCodecFrom(const ByteSource& source, const NeuralCodecInfo& info,
                                        const std::atomic<bool>* cancel) {
  const std::string what = "neural codec '" + info.name + "'";
  std::vector<uint8_t> bytes(info.extent.size);
  if (const Status status = ReadPiece(source, info.extent, bytes, cancel); !status.ok()) {
    return WhileReading(status, what);
  }
  auto codec = ReadNeuralCodec(info, bytes);
  if (codec.ok()) return codec;
  return codec.status().WithContext(source.name() + ": " + what + " at byte " +
                                    std::to_string(info.extent.offset));
}

}  // namespace nwc
