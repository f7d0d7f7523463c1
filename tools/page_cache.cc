#include "tools/page_cache.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "loader/loader.h"

namespace nwc {
namespace {

Status SystemError(const std::string& path, const char* what, int error) {
  return Status(ErrorCode::kIo, path + ": " + what + ": " + std::strerror(error));
}

class Descriptor {
 public:
  explicit Descriptor(const std::string& path) : value_(open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int value() const { return value_; }

 private:
  int value_;
};

}  // namespace

Result<double> ResidentShare(const std::string& path) {
  if (IsHttpUrl(path)) return 0.0;
  const Descriptor file(path);
  struct stat facts {};
  if (file.value() < 0 || fstat(file.value(), &facts) != 0) {
    return SystemError(path, "cannot open", errno);
  }
  const auto size = static_cast<size_t>(facts.st_size);
  if (size == 0) return 0.0;
  void* const address = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.value(), 0);
  if (address == MAP_FAILED) return SystemError(path, "cannot map", errno);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  std::vector<unsigned char> resident((size + page - 1) / page);
  const int error = mincore(address, size, resident.data()) == 0 ? 0 : errno;
  munmap(address, size);
  if (error != 0) return SystemError(path, "cannot ask for resident pages", error);
  const auto count = std::count_if(resident.begin(), resident.end(),
                                   [](unsigned char flags) { return (flags & 1) != 0; });
  return static_cast<double>(count) / static_cast<double>(resident.size());
}

Status DropPages(const std::string& path) {
  if (IsHttpUrl(path)) {
    return Status(ErrorCode::kUnsupported, "not measured: the file is on a web server");
  }
  const Descriptor file(path);
  if (file.value() < 0) return SystemError(path, "cannot open", errno);
  // Dirty pages stay; a file system that cannot sync (EINVAL, EROFS) has none.
  if (fsync(file.value()) != 0 && errno != EINVAL && errno != EROFS) {
    return SystemError(path, "cannot sync", errno);
  }
  if (const int error = posix_fadvise(file.value(), 0, 0, POSIX_FADV_DONTNEED); error != 0) {
    return SystemError(path, "cannot drop pages", error);
  }
  return {};
}

}  // namespace nwc
