#include "loader/file_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "loader/transient_error.h"

namespace nwc {
namespace {

constexpr size_t kLongestRead = size_t{1} << 30;  // Linux moves less than 2^31 bytes a call

std::string Describe(int error) { return std::generic_category().message(error); }

Status OpenFailed(const std::string& path, int error) {
  const bool missing = error == ENOENT || error == ENOTDIR;
  return Status(missing ? ErrorCode::kNotFound : ErrorCode::kIo,
                path + ": cannot open: " + Describe(error));
}

Status NotRegular(const std::string& path, mode_t mode) {
  const char* what = S_ISDIR(mode) ? "a directory" : "not a regular file";
  return Status(ErrorCode::kUsage, path + ": is " + what + ", expected an NWC file");
}

}  // namespace

Status ReadFailed(const std::string& name, uint64_t offset, int error) {
  return Status(ErrorCode::kIo,
                name + ": cannot read at byte " + std::to_string(offset) + ": " + Describe(error));
}

Status EndedEarly(const std::string& name, uint64_t end, uint64_t expected) {
  return Status(ErrorCode::kIo, name + ": ends at byte " + std::to_string(end) + ", expected " +
                                    std::to_string(expected) +
                                    ": truncated or replaced while open");
}

Status WhileReading(const Status& status, const std::string& what) {
  if (status.rule() != 0) return status;  // not of the read
  return Status(status.code(), status.message() + " (reading " + what + ")");
}

Result<std::unique_ptr<FileSource>> FileSource::Open(const std::string& path) {
  // Made first: a descriptor without an owner would be lost where there is no memory for one.
  std::unique_ptr<FileSource> source(new FileSource(path));
  // O_NONBLOCK: opening a pipe must not wait for its other end.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return OpenFailed(path, errno);
  source->descriptor_ = Descriptor(descriptor);
  struct stat facts {};
  if (fstat(descriptor, &facts) != 0) return OpenFailed(path, errno);
  if (!S_ISREG(facts.st_mode)) return NotRegular(path, facts.st_mode);
  // With O_NONBLOCK io_uring would answer -EAGAIN where it should wait for the disk.
  const int flags = fcntl(descriptor, F_GETFL);
  if (flags < 0 || fcntl(descriptor, F_SETFL, flags & ~O_NONBLOCK) != 0) {
    return OpenFailed(path, errno);
  }
  source->size_ = static_cast<uint64_t>(facts.st_size);
  return source;
}

Status FileSource::Read(uint64_t offset, MutableByteSpan destination) const {
  int tries = 0;  // since bytes came
  while (!destination.empty()) {
    const size_t wanted = std::min(destination.size(), kLongestRead);
    const ssize_t got =
        pread(descriptor_.get(), destination.data(), wanted, static_cast<off_t>(offset));
    if (got < 0) {
      const int error = errno;
      if (IsTransientError(error) && PauseBeforeRetry(++tries)) continue;
      return ReadFailed(path_, offset, error);
    }
    if (got == 0) return EndedEarly(path_, offset, offset + destination.size());
    tries = 0;
    offset += static_cast<uint64_t>(got);
    destination = destination.subspan(static_cast<size_t>(got));
  }
  return {};
}

}  // namespace nwc
