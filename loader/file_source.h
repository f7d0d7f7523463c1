// A regular file, read with pread.
#pragma once

#include <memory>
#include <string>

#include "loader/byte_source.h"
#include "loader/descriptor.h"

namespace nwc {

class FileSource : public ByteSource {
 public:
  // Every error names `path`. A missing file is kNotFound, a directory, pipe or device kUsage.
  static Result<std::unique_ptr<FileSource>> Open(const std::string& path);

  [[nodiscard]] uint64_t size() const override { return size_; }  // when it was opened
  Status Read(uint64_t offset, MutableByteSpan destination) const override;
  [[nodiscard]] int descriptor() const override { return descriptor_.get(); }
  [[nodiscard]] const std::string& name() const override { return path_; }

 private:
  explicit FileSource(std::string path) : path_(std::move(path)) {}

  std::string path_;
  Descriptor descriptor_;
  uint64_t size_ = 0;
};

// The errors of a read, however it was issued: `error` is an errno value.
Status ReadFailed(const std::string& name, uint64_t offset, int error);
Status EndedEarly(const std::string& name, uint64_t end, uint64_t expected);

// The same error with what was read said at its end: "(reading tensor 'x')".
Status WhileReading(const Status& status, const std::string& what);

}  // namespace nwc
