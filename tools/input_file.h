// A file open for reading, read at offsets. Movable; reads may run in parallel.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/status.h"

namespace nwc {

class InputFile {
 public:
  // Follows symbolic links; only regular files. The error begins with the path.
  static Result<InputFile> Open(const std::string& path);
  InputFile(InputFile&& other) noexcept
      : path_(std::move(other.path_)),
        descriptor_(std::exchange(other.descriptor_, -1)),
        size_(other.size_) {}
  InputFile& operator=(InputFile&&) = delete;
  ~InputFile();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] uint64_t size() const { return size_; }  // bytes, when opened

  // Fills `out` from `offset`. A file that has become shorter is kIo. Retries EINTR and short
  // reads.
  Status Read(uint64_t offset, MutableByteSpan out) const;

 private:
  InputFile(std::string path, int descriptor) : path_(std::move(path)), descriptor_(descriptor) {}
  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
};

// XXH3-128 of a whole file.
Result<Hash128> HashFile(const std::string& path);

}  // namespace nwc
