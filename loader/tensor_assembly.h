// One tensor between its first byte and its hand-over: buffer, decoder, and the errors that name
// file, tensor and chunk.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "format/chunk_decoder.h"
#include "loader/aligned_buffer.h"

namespace nwc {

struct AssemblySettings {
  std::string file_name;
  bool verify = true;
  bool verify_decoded = false;
  Simd simd = Simd::kScalar;
};

// Prepare, then AcceptSideInfo for a stream or nwc tensor, then DecodeChunk for every chunk (from
// any threads at once), then CheckWhole and TakeBytes.
class TensorAssembly {
 public:
  // `info` and `settings` outlive it; `codec` is the tensor's.
  TensorAssembly(const TensorInfo& info, const AssemblySettings& settings, ChunkCodec codec)
      : info_(&info), settings_(&settings), codec_(std::move(codec)) {}

  Status Prepare();
  Status AcceptSideInfo(ByteSpan side);
  Status DecodeChunk(size_t chunk_number, ByteSpan chunk);
  Status CheckWhole() const;  // R29, when asked for
  AlignedBuffer TakeBytes();

  [[nodiscard]] const TensorInfo& info() const { return *info_; }

 private:
  [[nodiscard]] std::string Where() const;
  [[nodiscard]] std::string WhereChunk(size_t chunk_number) const;

  const TensorInfo* info_;
  const AssemblySettings* settings_;
  ChunkCodec codec_;
  AlignedBuffer bytes_;
  std::optional<ChunkDecoder> decoder_;
};

}  // namespace nwc
