#include "tools/atomic_file.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <utility>

#include "tools/display.h"
#include "tools/temporary_registry.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBufferBytes = 4 << 20;
constexpr size_t kLongestWrite = 1u << 30;  // bytes; below what Linux transfers in one call
constexpr const char* kTemporaryMark = ".tmp-";

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

Status SystemError(const std::string& path, const std::string& what, int error) {
  std::string message = path + ": " + what + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) {
    message += "; nothing is left behind: free some space or choose another disk";
  }
  return Status(ErrorCode::kIo, message);
}

Status AlreadyThere(const std::string& path) {
  return Usage(path + ": already exists, expected a new name; use --force to replace it");
}

std::string FolderOf(const std::string& path) {
  const std::string folder = fs::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

// Opened and locked, or -1: a writer holds the lock of its temporary as long as it lives.
int OpenUnlocked(const std::string& path) {
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (descriptor < 0) return -1;
  if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return descriptor;
  close(descriptor);
  return -1;
}

// Whether `name` is a temporary of `target` whose process is dead. Where process numbers start
// anew, as in containers, a leftover may bear our own.
bool IsLeftover(const std::string& folder, const std::string& name, const std::string& target) {
  const std::string prefix = target + kTemporaryMark;
  if (!name.starts_with(prefix)) return false;
  pid_t pid = 0;
  const char* digits_end = name.data() + name.size();
  const auto [end, error] = std::from_chars(name.data() + prefix.size(), digits_end, pid);
  if (error != std::errc() || end != digits_end || pid <= 0) return false;
  if (pid == getpid()) return !IsRegisteredTemporary((fs::path(folder) / name).string());
  return kill(pid, 0) != 0 && errno == ESRCH;
}

void RemoveLeftovers(const std::string& path) {
  const std::string folder = FolderOf(path);
  const std::string target = fs::path(path).filename().string();
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    if (!IsLeftover(folder, i->path().filename().string(), target)) continue;
    const int descriptor = OpenUnlocked(i->path().string());
    if (descriptor < 0) continue;
    unlink(i->path().c_str());
    close(descriptor);
  }
}

// Renames without replacing; false with errno when it fails.
bool RenameToNew(const std::string& from, const std::string& to) {
  if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  // The file system knows no such rename: a hard link does not replace either.
  if (link(from.c_str(), to.c_str()) != 0) return false;
  unlink(from.c_str());
  return true;
}

}  // namespace

Status SyncFolderOf(const std::string& path) {
  const int descriptor = open(FolderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return SystemError(path, "written, but cannot open its folder", errno);
  const int error = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  // EINVAL: a file system whose folders need no sync.
  if (error == 0 || error == EINVAL) return {};
  return SystemError(path, "written, but its folder is not synced", error);
}

Status PublishFile(const std::string& temporary, const std::string& path, bool overwrite) {
  NWC_RETURN_IF_ERROR(CheckOutputPath(path, overwrite));
  if (overwrite) {
    if (std::rename(temporary.c_str(), path.c_str()) != 0) {
      return SystemError(path, "cannot rename " + Quote(temporary), errno);
    }
  } else if (!RenameToNew(temporary, path)) {
    if (errno == EEXIST) return AlreadyThere(path);
    return SystemError(path, "cannot rename " + Quote(temporary), errno);
  }
  return SyncFolderOf(path);
}

Status CheckOutputPath(const std::string& path, bool overwrite) {
  if (path.empty() || fs::path(path).filename().empty()) {
    return Usage(Quote(path) + ": no file name, expected the path of a file to write");
  }
  const std::string folder = FolderOf(path);
  struct stat facts {};
  if (stat(folder.c_str(), &facts) != 0 || !S_ISDIR(facts.st_mode)) {
    return Usage(path + ": " + Quote(folder) + " is not a folder, expected one; create it first");
  }
  if (lstat(path.c_str(), &facts) != 0) {
    return errno == ENOENT ? Status() : SystemError(path, "cannot inspect", errno);
  }
  const bool target_known = stat(path.c_str(), &facts) == 0;  // of a symbolic link
  if (target_known && S_ISDIR(facts.st_mode)) {
    return Usage(path + ": is a folder, expected the path of a file to write");
  }
  if (target_known && !S_ISREG(facts.st_mode)) {
    return Usage(path + ": is not a regular file, expected a path to write or replace");
  }
  return overwrite ? Status() : AlreadyThere(path);
}

Result<std::unique_ptr<AtomicFile>> AtomicFile::Create(const std::string& path, bool overwrite) {
  NWC_RETURN_IF_ERROR(CheckOutputPath(path, overwrite));
  RemoveLeftovers(path);
  std::unique_ptr<AtomicFile> file(new AtomicFile());
  file->path_ = path;
  file->temporary_ = (fs::path(FolderOf(path)) / fs::path(path).filename()).string() +
                     kTemporaryMark + std::to_string(getpid());
  file->overwrite_ = overwrite;
  NWC_RETURN_IF_ERROR(file->CreateTemporary());
  return file;
}

Status AtomicFile::CreateTemporary() {
  if (IsRegisteredTemporary(temporary_)) {
    return Usage(path_ + ": this process writes it already, expected one writer");
  }
  // Registered first: a signal may come between any two lines.
  slot_ = RegisterTemporary(temporary_);
  if (slot_ < 0)
    return Usage(path_ + ": the path is too long, or too many files are being written");
  descriptor_ = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (descriptor_ < 0) {
    const int error = errno;
    UnregisterTemporary(std::exchange(slot_, -1));
    return SystemError(path_, "cannot create " + Quote(temporary_), error);
  }
  flock(descriptor_, LOCK_EX | LOCK_NB);  // where locks exist; see IsLeftover
  buffer_.reserve(kBufferBytes);
  return {};
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) close(descriptor_);
  if (slot_ >= 0) unlink(temporary_.c_str());
  UnregisterTemporary(slot_);
}

Status AtomicFile::WriteAt(uint64_t offset, ByteSpan bytes) {
  while (!bytes.empty()) {
    const size_t wanted = std::min(bytes.size(), kLongestWrite);
    const ssize_t done = pwrite(descriptor_, bytes.data(), wanted, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return SystemError(path_, "cannot write", done < 0 ? errno : EIO);
    offset += static_cast<uint64_t>(done);
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return {};
}

Status AtomicFile::Flush() {
  NWC_RETURN_IF_ERROR(WriteAt(flushed_, buffer_));
  flushed_ += buffer_.size();
  buffer_.clear();
  return {};
}

Status AtomicFile::Append(ByteSpan bytes) {
  if (descriptor_ < 0) return Status(ErrorCode::kInternal, path_ + ": is closed already");
  if (buffer_.size() + bytes.size() > kBufferBytes) NWC_RETURN_IF_ERROR(Flush());
  if (bytes.size() >= kBufferBytes) {
    NWC_RETURN_IF_ERROR(WriteAt(flushed_, bytes));
    flushed_ += bytes.size();
    return {};
  }
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
  return {};
}

Status AtomicFile::Commit(ByteSpan first_bytes) {
  if (descriptor_ < 0) return Status(ErrorCode::kInternal, path_ + ": is closed already");
  NWC_RETURN_IF_ERROR(Flush());
  if (first_bytes.size() > flushed_) {
    return Status(ErrorCode::kInternal, path_ + ": more first bytes than bytes appended");
  }
  // Data reaches the disk before the bytes that make it valid.
  if (fdatasync(descriptor_) != 0) return SystemError(path_, "cannot sync", errno);
  NWC_RETURN_IF_ERROR(WriteAt(0, first_bytes));
  NWC_RETURN_IF_ERROR(CloseDurably());
  NWC_RETURN_IF_ERROR(PublishFile(temporary_, path_, overwrite_));
  UnregisterTemporary(std::exchange(slot_, -1));
  return {};
}

Status AtomicFile::CloseDurably() {
  if (fsync(descriptor_) != 0) return SystemError(path_, "cannot sync", errno);
  if (close(std::exchange(descriptor_, -1)) != 0) return SystemError(path_, "cannot close", errno);
  return {};
}

void AtomicFile::RemoveAllTemporaries() { UnlinkRegisteredTemporaries(); }

}  // namespace nwc
