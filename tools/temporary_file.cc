#include "tools/temporary_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>

#include "tools/temporary_registry.h"

namespace nwc {

namespace fs = std::filesystem;

Result<std::unique_ptr<TemporaryFile>> TemporaryFile::Create(const std::string& ending) {
  std::error_code error;
  fs::path folder = fs::temp_directory_path(error);
  if (error) folder = "/tmp";
  std::string path = (folder / ("nwc-XXXXXX" + ending)).string();
  const int descriptor = mkstemps(path.data(), static_cast<int>(ending.size()));
  if (descriptor < 0) {
    return Status(ErrorCode::kIo, folder.string() +
                                      ": cannot make a temporary file: " + std::strerror(errno) +
                                      "; name a folder that can be written in TMPDIR");
  }
  close(descriptor);
  return std::unique_ptr<TemporaryFile>(new TemporaryFile(std::move(path)));
}

TemporaryFile::TemporaryFile(std::string path)
    : path_(std::move(path)), slot_(RegisterTemporary(path_)) {}

TemporaryFile::~TemporaryFile() {
  unlink(path_.c_str());
  UnregisterTemporary(slot_);
}

}  // namespace nwc
