// GGUF files of whole numbers and floats, versions 2 and 3, little-endian (ggml/docs/gguf.md of
// ggml-org/ggml). Metadata is skipped here and kept as bytes; quantised tensors are refused.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "format/status.h"
#include "tools/read_at.h"
#include "tools/stored_tensor.h"

namespace nwc {

inline constexpr uint32_t kGgufMagic = 0x46554747;                // "GGUF"
inline constexpr uint64_t kMaxGgufHeader = 256ull << 20;          // bytes
inline constexpr const char* kGgufHeaderEnding = ".gguf-header";  // of the file that keeps it
inline constexpr uint64_t kGgufAlignment = 32;                    // what we write, bytes

struct GgufHeader {
  // In file order; shapes as in PyTorch, the outermost dimension first. begin and end are bytes of
  // the file.
  std::vector<StoredTensor> tensors;
  uint64_t data_begin = 0;  // bytes from the start of the file
};

// The header of a file that begins with `prefix`; nothing when it goes on beyond that.
Result<std::optional<GgufHeader>> ParseGgufHeader(ByteSpan prefix);

// Reads the header and checks that the tensors lie in the file and that little follows them.
Result<GgufHeader> ReadGgufHeader(const ReadAt& read, uint64_t file_size);

// All bytes of the file that are part of no tensor, in their order: the header and padding.
Result<std::vector<uint8_t>> ReadGgufRest(const ReadAt& read, const GgufHeader& header,
                                          uint64_t file_size);

// A header of version 3, up to data_begin, with strings as metadata; fills in begin and end of
// `tensors`, in whose order data follows, each padded to kGgufAlignment. kUnsupported, naming the
// tensor, for names, dtypes and shapes that GGUF does not have.
Result<std::vector<uint8_t>> SerializeGgufHeader(
    const std::vector<std::pair<std::string, std::string>>& metadata,
    std::vector<StoredTensor>* tensors);

}  // namespace nwc
