// A file of this process alone, removed at the end, also by a signal.
#pragma once

#include <memory>
#include <string>

#include "format/status.h"

namespace nwc {

class TemporaryFile {
 public:
  // Empty, in TMPDIR or /tmp; its name ends in `ending`.
  static Result<std::unique_ptr<TemporaryFile>> Create(const std::string& ending);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  explicit TemporaryFile(std::string path);
  std::string path_;
  int slot_;
};

}  // namespace nwc
