// One tensor, or a slice of it, between its first byte and its hand-over: buffer, decoder, and the
// errors that name file, tensor and chunk.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "format/chunk_decoder.h"
#include "loader/aligned_buffer.h"
#include "loader/tensor_slice.h"

namespace nwc {

struct AssemblySettings {
  std::string file_name;
  bool verify = true;
  bool verify_decoded = false;
  Simd simd = Simd::kScalar;
};

// Prepare, then AcceptSideInfo for a stream or nwc tensor, then DecodeChunk for every chunk that
// the slice touches (from any threads at once), then CheckWhole and TakeBytes.
class TensorAssembly {
 public:
  // `info` and `settings` outlive it; `slice` is a resolved one, `codec` the tensor's.
  TensorAssembly(const TensorInfo& info, const TensorSlice& slice, const AssemblySettings& settings,
                 ChunkCodec codec)
      : info_(&info), slice_(slice), settings_(&settings), codec_(std::move(codec)) {}

  Status Prepare();
  Status AcceptSideInfo(ByteSpan side);
  // A tile of which only a part is wanted is decoded into *scratch, which grows to its size; other
  // tiles go straight to their place.
  Status DecodeChunk(size_t chunk_number, ByteSpan chunk, AlignedBuffer* scratch);
  Status CheckWhole() const;  // R29, when asked for; nothing is known about slices
  AlignedBuffer TakeBytes();

  [[nodiscard]] const TensorInfo& info() const { return *info_; }
  [[nodiscard]] const TensorSlice& slice() const { return slice_; }

 private:
  [[nodiscard]] std::string Where() const;
  [[nodiscard]] std::string WhereChunk(size_t chunk_number) const;
  Status DecodeWanted(size_t chunk_number, ByteSpan chunk, AlignedBuffer* scratch);

  const TensorInfo* info_;
  TensorSlice slice_;
  const AssemblySettings* settings_;
  ChunkCodec codec_;
  AlignedBuffer bytes_;
  std::optional<ChunkDecoder> decoder_;
};

}  // namespace nwc
