#include "tools/part_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "format/layout.h"
#include "loader/byte_source.h"
#include "tools/input_file.h"

namespace nwc {
namespace {

constexpr size_t kLongestWrite = 1u << 30;  // bytes; below what Linux transfers in one call
constexpr std::array<uint8_t, 8> kPartMagic = {0x89, 'N', 'W', 'C', 'p', 'a', 'r', 't'};
static_assert(kPartMagic.size() == kMagic.size());

Status SystemError(const std::string& path, const std::string& what, int error) {
  std::string message = path + ": " + what + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT || error == EFBIG) message += "; free some space";
  return Status(ErrorCode::kIo, message);
}

// Whether the file may be thrown away: it begins as a copy does, whole or hardly begun.
Status CheckOurs(const std::string& path, int descriptor) {
  std::array<uint8_t, kMagic.size()> first{};
  if (pread(descriptor, first.data(), first.size(), 0) < 0) {
    return SystemError(path, "cannot read", errno);
  }
  if (first == kPartMagic || first == kMagic || first == std::array<uint8_t, kMagic.size()>{}) {
    return {};
  }
  return Status(ErrorCode::kUsage, path +
                                       ": is not what an earlier download left, expected that "
                                       "or nothing; rename or remove it");
}

// The file as it will be: with the magic number of a container.
class PartSource : public ByteSource {
 public:
  explicit PartSource(InputFile file) : file_(std::move(file)) {}

  [[nodiscard]] uint64_t size() const override { return file_.size(); }
  [[nodiscard]] const std::string& name() const override { return file_.path(); }
  Status Read(uint64_t offset, MutableByteSpan destination) const override {
    NWC_RETURN_IF_ERROR(file_.Read(offset, destination));
    if (offset >= kMagic.size()) return {};
    const size_t size = std::min<size_t>(kMagic.size() - offset, destination.size());
    std::copy_n(kMagic.begin() + static_cast<ptrdiff_t>(offset), size, destination.begin());
    return {};
  }

 private:
  InputFile file_;
};

}  // namespace

Result<std::unique_ptr<PartFile>> PartFile::Open(const std::string& path, const Loader& original) {
  std::unique_ptr<PartFile> part(new PartFile(path));
  NWC_RETURN_IF_ERROR(part->OpenLocked());
  std::array<uint8_t, kSuperblockSize> superblock{};
  NWC_RETURN_IF_ERROR(original.source().Read(0, superblock));
  NWC_RETURN_IF_ERROR(part->Resume(superblock, original.superblock().file_size));
  if (!part->resumed_) NWC_RETURN_IF_ERROR(part->Begin(superblock, original));
  return part;
}

Status PartFile::OpenLocked() {
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  descriptor_ = Descriptor(open(path_.c_str(), flags, 0666));
  struct stat facts {};
  if (descriptor_.get() < 0 || fstat(descriptor_.get(), &facts) != 0) {
    return SystemError(path_, "cannot open or create", errno);
  }
  if (!S_ISREG(facts.st_mode)) {
    return Status(ErrorCode::kUsage, path_ +
                                         ": is not a regular file, expected what an earlier "
                                         "download left, or nothing; remove it");
  }
  if (flock(descriptor_.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return {};
  return Status(ErrorCode::kUsage,
                path_ + ": another process downloads to it, expected one; wait until it is done");
}

// A superblock holds the hash of the index, which holds those of everything else: equal superblocks
// are of equal containers, whatever the server calls its file. Whether the bytes are right, the
// hashes tell later; those of the index, here.
Status PartFile::Resume(ByteSpan superblock, uint64_t size) {
  struct stat facts {};
  if (fstat(descriptor_.get(), &facts) != 0) return SystemError(path_, "cannot inspect", errno);
  if (facts.st_size == 0) return {};
  NWC_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path_));
  const PartSource source(std::move(file));
  NWC_RETURN_IF_ERROR(CheckOurs(path_, descriptor_.get()));
  std::array<uint8_t, kSuperblockSize> here{};
  if (source.size() == size) NWC_RETURN_IF_ERROR(source.Read(0, here));
  if (std::equal(here.begin(), here.end(), superblock.begin()) && OpenLoader().ok()) {
    resumed_ = true;
  } else {
    replaced_ = true;
  }
  return {};
}

Status PartFile::Begin(ByteSpan superblock, const Loader& original) {
  const Superblock& facts = original.superblock();
  const auto size = static_cast<off_t>(facts.file_size);
  if (ftruncate(descriptor_.get(), 0) != 0) return SystemError(path_, "cannot empty", errno);
  // A disk without room for all says so before anything is fetched; some systems cannot tell.
  if (fallocate(descriptor_.get(), 0, 0, size) != 0) {
    if (errno != EOPNOTSUPP && errno != ENOSYS) {
      return SystemError(path_, "no room for " + std::to_string(size) + " bytes", errno);
    }
    if (ftruncate(descriptor_.get(), size) != 0) return SystemError(path_, "cannot grow", errno);
  }
  AlignedBuffer index;
  index_bytes_read_ = facts.file_size - facts.index_offset;
  NWC_RETURN_IF_ERROR(original.ReadRange(facts.index_offset, index_bytes_read_, &index));
  NWC_RETURN_IF_ERROR(Write(facts.index_offset, index.span().first(index_bytes_read_)));
  NWC_RETURN_IF_ERROR(Write(0, kPartMagic));
  return Write(kMagic.size(), superblock.subspan(kMagic.size()));
}

Result<std::unique_ptr<Loader>> PartFile::OpenLoader() const {
  NWC_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path_));
  return Loader::OpenSource(std::make_unique<PartSource>(std::move(file)), {});
}

Status PartFile::Write(uint64_t offset, ByteSpan bytes) const {
  while (!bytes.empty()) {
    const size_t wanted = std::min(bytes.size(), kLongestWrite);
    const ssize_t done =
        pwrite(descriptor_.get(), bytes.data(), wanted, static_cast<off_t>(offset));
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return SystemError(path_, "cannot write", done < 0 ? errno : EIO);
    offset += static_cast<uint64_t>(done);
    bytes = bytes.subspan(static_cast<size_t>(done));
  }
  return {};
}

Result<CheckReport> PartFile::Check(const CheckSettings& settings) const {
  NWC_ASSIGN_OR_RETURN(const auto loader, OpenLoader());
  return CheckContainer(*loader, settings);
}

// Data reaches the disk before the bytes that make it valid.
Status PartFile::Complete() const {
  NWC_RETURN_IF_ERROR(Sync());
  NWC_RETURN_IF_ERROR(Write(0, kMagic));
  return Sync();
}

Status PartFile::Sync() const {
  return fsync(descriptor_.get()) == 0 ? Status() : SystemError(path_, "cannot sync", errno);
}

}  // namespace nwc
