#include "tools/input_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

namespace nwc {
namespace {

constexpr size_t kLongestRead = 1u << 30;  // bytes; below what Linux transfers in one call

Status SystemError(const std::string& path, const char* what) {
  const ErrorCode code =
      errno == ENOENT || errno == ENOTDIR ? ErrorCode::kNotFound : ErrorCode::kIo;
  return Status(code, path + ": " + what + ": " + std::strerror(errno));
}

}  // namespace

Result<InputFile> InputFile::Open(const std::string& path) {
  // O_NONBLOCK: opening a pipe must not wait for its other end.
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return SystemError(path, "cannot open");
  InputFile file(path, descriptor);
  struct stat facts {};
  if (fstat(descriptor, &facts) != 0) return SystemError(path, "cannot inspect");
  if (!S_ISREG(facts.st_mode)) {
    return Status(ErrorCode::kUsage, path + ": not a regular file, expected one");
  }
  file.size_ = static_cast<uint64_t>(facts.st_size);
  return file;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

Status InputFile::Read(uint64_t offset, MutableByteSpan out) const {
  while (!out.empty()) {
    const size_t wanted = std::min(out.size(), kLongestRead);
    const ssize_t got = pread(descriptor_, out.data(), wanted, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return SystemError(path_, "cannot read");
    if (got == 0) {
      return Status(ErrorCode::kIo, path_ + ": ends at byte " + std::to_string(offset) +
                                        ", expected " + std::to_string(size_) +
                                        " bytes as when it was opened: it was cut while in use");
    }
    offset += static_cast<uint64_t>(got);
    out = out.subspan(static_cast<size_t>(got));
  }
  return {};
}

Result<Hash128> HashFile(const std::string& path) {
  constexpr size_t kPiece = 4 << 20;
  NWC_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  std::vector<uint8_t> piece(std::min<uint64_t>(kPiece, file.size()));
  StreamingHash128 hash;
  for (uint64_t at = 0; at < file.size(); at += piece.size()) {
    piece.resize(std::min<uint64_t>(piece.size(), file.size() - at));
    NWC_RETURN_IF_ERROR(file.Read(at, piece));
    hash.Update(piece);
  }
  return hash.Digest();
}

}  // namespace nwc
