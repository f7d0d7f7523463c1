// The safetensors file format: header parsing and writing. Pure functions on bytes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/dtype.h"
#include "format/status.h"

namespace nwc {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<uint64_t> shape;
  uint64_t begin = 0, end = 0;  // bytes from the start of the file (not of its data section)
};

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in file order (ascending begin, then end, then name)
  std::string metadata;                   // __metadata__ as a JSON object, or empty
  uint64_t data_begin = 0;                // bytes from the start of the file
};

inline constexpr uint64_t kMaxSafetensorsHeader = 100'000'000;  // the format's own limit, bytes

// `prefix` is at least the first 8 bytes of the file, or all of it; returns how many bytes from the
// start hold length and header.
Result<uint64_t> SafetensorsHeaderEnd(ByteSpan prefix, uint64_t file_size);

// `bytes` holds exactly length and header. Validates as the format demands: known dtypes, no holes,
// no overlaps, sizes that match shapes, data that ends at file_size. Names and shapes beyond what a
// container can hold (spec/format.md R9, R10) are kUnsupported.
Result<SafetensorsHeader> ParseSafetensorsHeader(ByteSpan bytes, uint64_t file_size);

// Length and header for `entries` (begin and end ignored) laid out in the given order; data
// follows. Fills in begin and end. The sizes must fit: as in a valid container. `metadata` that is
// not a JSON object of strings is left out, since a file with it could not be read.
std::vector<uint8_t> SerializeSafetensorsHeader(std::vector<SafetensorsEntry>* entries,
                                                const std::string& metadata);

}  // namespace nwc
