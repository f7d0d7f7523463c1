#include "tools/output_folder.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "tools/display.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTemporaryMark = ".tmp-";

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

Status SystemError(const std::string& path, const std::string& what, int error) {
  return Status(ErrorCode::kIo, path + ": " + what + ": " + std::strerror(error));
}

std::string ParentOf(const std::string& path) {
  const std::string parent = fs::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

// "a//b/" is "a/b".
std::string WithoutSlashAtEnd(const std::string& path) {
  std::string normal = fs::path(path).lexically_normal().string();
  while (normal.size() > 1 && normal.back() == '/') normal.pop_back();
  return normal;
}

// Removes a folder and the files in it. Folders in it stay, and so does it then: a mistaken name
// cannot cost more than one level.
bool RemoveFlatFolder(const std::string& path) {
  std::error_code error;
  for (fs::directory_iterator i(path, error), end; !error && i != end; i.increment(error)) {
    unlink(i->path().c_str());
  }
  return rmdir(path.c_str()) == 0;
}

bool IsFolder(const std::string& path) {
  struct stat facts {};
  return lstat(path.c_str(), &facts) == 0 && S_ISDIR(facts.st_mode);
}

void RemoveLeftovers(const std::string& path) {
  const std::string prefix = fs::path(path).filename().string() + kTemporaryMark;
  std::error_code error;
  for (fs::directory_iterator i(ParentOf(path), error), end; !error && i != end;
       i.increment(error)) {
    const std::string name = i->path().filename().string();
    if (!name.starts_with(prefix) || !IsFolder(i->path().string())) continue;
    pid_t pid = 0;
    const char* digits_end = name.data() + name.size();
    const auto [stop, bad] = std::from_chars(name.data() + prefix.size(), digits_end, pid);
    if (bad != std::errc() || stop != digits_end || pid <= 0) continue;
    // Our own number: a process of the same number died, as happens in containers.
    if (pid == getpid() || (kill(pid, 0) != 0 && errno == ESRCH)) {
      RemoveFlatFolder(i->path().string());
    }
  }
}

// What is in a folder at `path`.
Status CheckContent(const std::string& path, bool replace) {
  std::error_code error;
  for (fs::directory_iterator i(path, error), end; !error && i != end; i.increment(error)) {
    if (!replace) {
      return Usage(path + ": is not empty, expected a new folder; use --force to replace it");
    }
    if (IsFolder(i->path().string())) {
      return Usage(path + ": holds the folder " + Quote(i->path().filename().string()) +
                   ", which --force does not remove; remove it yourself or choose another -o");
    }
  }
  if (error) return Status(ErrorCode::kIo, path + ": cannot list: " + error.message());
  return {};
}

Status CheckTarget(const std::string& path, bool replace) {
  const std::string name = fs::path(path).filename().string();
  if (name.empty() || name == "." || name == "..") {
    return Usage(Quote(path) + ": no folder name, expected the path of a folder to create");
  }
  std::error_code error;
  if (!fs::is_directory(ParentOf(path), error)) {
    return Usage(path + ": " + Quote(ParentOf(path)) +
                 " is not a folder, expected one; create it first");
  }
  struct stat facts {};
  if (lstat(path.c_str(), &facts) != 0) {
    return errno == ENOENT ? Status() : SystemError(path, "cannot inspect", errno);
  }
  if (S_ISLNK(facts.st_mode)) {
    return Usage(path + ": is a symbolic link, expected a folder; name what it points to");
  }
  if (!S_ISDIR(facts.st_mode)) {
    return Usage(path + ": is a file, expected a folder to create; choose another -o");
  }
  return CheckContent(path, replace);
}

}  // namespace

Result<std::unique_ptr<OutputFolder>> OutputFolder::Create(const std::string& path, bool replace) {
  std::unique_ptr<OutputFolder> folder(new OutputFolder());
  folder->path_ = WithoutSlashAtEnd(path);
  folder->temporary_ = folder->path_ + kTemporaryMark + std::to_string(getpid());
  folder->replace_ = replace;
  NWC_RETURN_IF_ERROR(CheckTarget(folder->path_, replace));
  RemoveLeftovers(folder->path_);
  if (mkdir(folder->temporary_.c_str(), 0777) != 0) {
    return SystemError(folder->path_, "cannot create " + Quote(folder->temporary_), errno);
  }
  folder->created_ = true;
  return folder;
}

OutputFolder::~OutputFolder() {
  if (created_) RemoveFlatFolder(temporary_);
}

// The old folder and the new one change places at once, where the file system can do that.
Status OutputFolder::Replace() {
  if (renameat2(AT_FDCWD, temporary_.c_str(), AT_FDCWD, path_.c_str(), RENAME_EXCHANGE) == 0) {
    return {};  // the destructor removes the old one
  }
  if (errno != EINVAL && errno != ENOSYS) {
    return SystemError(path_, "cannot exchange with " + Quote(temporary_), errno);
  }
  const std::string old = temporary_ + "-old";
  if (std::rename(path_.c_str(), old.c_str()) != 0) {
    return SystemError(path_, "cannot rename to " + Quote(old), errno);
  }
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    const int error = errno;
    std::rename(old.c_str(), path_.c_str());
    return SystemError(path_, "cannot rename " + Quote(temporary_), error);
  }
  created_ = false;
  if (RemoveFlatFolder(old)) return {};
  return Status(ErrorCode::kIo, path_ + ": written, but the folder it replaces remains as " +
                                    Quote(old) + "; remove it");
}

Status OutputFolder::Commit() {
  NWC_RETURN_IF_ERROR(CheckTarget(path_, replace_));
  if (std::rename(temporary_.c_str(), path_.c_str()) == 0) {  // nothing or an empty folder there
    created_ = false;
  } else if (replace_ && (errno == ENOTEMPTY || errno == EEXIST)) {
    NWC_RETURN_IF_ERROR(Replace());
  } else {
    return SystemError(path_, "cannot rename " + Quote(temporary_), errno);
  }
  const int parent = open(ParentOf(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = parent >= 0 && (fsync(parent) == 0 || errno == EINVAL);
  const int error = errno;
  if (parent >= 0) close(parent);
  return synced ? Status() : SystemError(path_, "written, but its folder is not synced", error);
}

}  // namespace nwc
