#include "loader/mapped_source.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "format/layout.h"
#include "loader/file_source.h"

namespace nwc {
namespace {

constexpr size_t kLongestCopy = size_t{1} << 30;

ssize_t CopyFromMapping(const uint8_t* from, MutableByteSpan to) {
  const iovec local{to.data(), to.size()};
  const iovec remote{const_cast<uint8_t*>(from), to.size()};
  return process_vm_readv(getpid(), &local, 1, &remote, 1, 0);
}

Status Refused(const char* call, int error) {
  return Status(ErrorCode::kIo, std::string(call) + ": " + std::generic_category().message(error));
}

}  // namespace

Result<std::unique_ptr<MappedSource>> MappedSource::Map(const ByteSource& file) {
  std::unique_ptr<MappedSource> source(new MappedSource(file, nullptr));
  if (file.size() == 0) return source;
  void* const address = mmap(nullptr, file.size(), PROT_READ, MAP_SHARED, file.descriptor(), 0);
  if (address == MAP_FAILED) return Refused("mmap", errno);
  source->address_ = static_cast<uint8_t*>(address);
  madvise(address, file.size(), MADV_SEQUENTIAL);
  // Not of the mapping: whether the call is allowed is asked, not whether the file is whole.
  const uint8_t from = 0;
  uint8_t to = 1;
  if (CopyFromMapping(&from, {&to, 1}) != 1) return Refused("process_vm_readv", errno);
  return source;
}

MappedSource::~MappedSource() {
  if (address_ != nullptr) munmap(address_, size_);
}

ReadTraits MappedSource::traits() const {
  ReadTraits traits = file_.traits();
  traits.kind = "mmap";
  return traits;
}

void MappedSource::Advise(uint64_t offset, uint64_t size_bytes, int advice) const {
  const uint64_t begin = offset / kPageBytes * kPageBytes;
  madvise(address_ + begin, offset + size_bytes - begin, advice);
}

Status MappedSource::CheckEnd(uint64_t end) const {
  struct stat facts {};
  if (fstat(file_.descriptor(), &facts) != 0) return ReadFailed(name(), end, errno);
  const auto size = static_cast<uint64_t>(facts.st_size);
  return size < end ? EndedEarly(name(), size, end) : Status();
}

Status MappedSource::Read(uint64_t offset, MutableByteSpan destination) const {
  const auto end = CheckedAdd(offset, destination.size());
  if (!end || *end > size_) return EndedEarly(name(), size_, end.value_or(UINT64_MAX));
  while (!destination.empty()) {
    const size_t length = std::min(destination.size(), kLongestCopy);
    Advise(offset, length, MADV_WILLNEED);
    const ssize_t copied = CopyFromMapping(address_ + offset, destination.first(length));
    const int error = copied < 0 ? errno : EIO;
    Advise(offset, length, MADV_DONTNEED);
    if (copied <= 0) {
      NWC_RETURN_IF_ERROR(CheckEnd(*end));
      return ReadFailed(name(), offset, error == EFAULT ? EIO : error);
    }
    offset += static_cast<uint64_t>(copied);
    destination = destination.subspan(static_cast<size_t>(copied));
  }
  return CheckEnd(*end);
}

}  // namespace nwc
