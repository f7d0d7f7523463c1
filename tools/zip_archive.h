// Zip files whose entries are stored as they are, as torch.save writes them: finds where the
// content of each lies, so that parts can be read alone. ZIP64 too. Never decompresses.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "format/status.h"
#include "tools/read_at.h"

namespace nwc {

struct ZipEntry {
  std::string name;
  uint64_t begin = 0, end = 0;    // bytes of the file: its content
  std::optional<uint32_t> crc32;  // of the content; nothing where the writer left it out (as 0)
};

// In the order of the directory. kCorrupt when the directory is missing, broken or points outside
// the file; kUnsupported for entries that are compressed or encrypted, and for files in many parts.
Result<std::vector<ZipEntry>> ReadZipDirectory(const ReadAt& read, uint64_t file_size);

// The content of an entry, checked; kUnsupported when it has more than `most` bytes.
Result<std::vector<uint8_t>> ReadZipEntry(const ReadAt& read, const ZipEntry& entry, uint64_t most);

}  // namespace nwc
