#include "loader/io_choice.h"

#include <fcntl.h>
#include <sys/uio.h>

#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <system_error>
#include <utility>

#include "loader/aligned_buffer.h"
#include "loader/transient_error.h"
#include "loader/uring_reader.h"

namespace nwc {
namespace {

// Reads past the page cache were the fastest from a cold disk and a third slower from memory
// (tests/bench/README.md); between the two, this much in memory decides.
constexpr double kHotShare = 0.75;
constexpr size_t kNetworkReads = 16;  // each waits for an answer

const char* Label(IoMode mode) {
  switch (mode) {
    case IoMode::kUring:
      return "io_uring";
    case IoMode::kDirect:
      return "io_uring with O_DIRECT";
    default:
      return IoModeName(mode);
  }
}

Status Refused(const char* what, int error) {
  return Status(ErrorCode::kIo,
                std::string(what) + " refused (" + std::generic_category().message(error) + ")");
}

Status TryUring() {
  const auto probe = UringReader::Create(static_cast<unsigned>(kReadsInFlight), {});
  if (probe.ok()) return {};
  return Status(probe.status().code(), "io_uring refused (" + probe.status().message() + ")");
}

// The same file once more, past the page cache; by its descriptor, so it cannot be another one.
Result<Descriptor> OpenDirect(const ByteSource& source) {
  const std::string path = "/proc/self/fd/" + std::to_string(source.descriptor());
  Descriptor direct(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  if (direct.get() < 0) return Refused("O_DIRECT", errno);
  if (source.size() < kDirectBlock) return direct;
  // Some file systems refuse the reads only.
  NWC_ASSIGN_OR_RETURN(AlignedBuffer block, AlignedBuffer::Allocate(kDirectBlock, kDirectBlock));
  const iovec vector{block.data(), block.size()};
  int tries = 0;
  while (preadv(direct.get(), &vector, 1, 0) < 0) {
    const int error = errno;
    if (!IsTransientError(error) || !PauseBeforeRetry(++tries)) return Refused("O_DIRECT", error);
  }
  return direct;
}

// Makes *choice read in `mode`; an error is the reason why that cannot be, and changes nothing.
Status Prepare(IoMode mode, IoChoice* choice) {
  if (mode == IoMode::kUring || mode == IoMode::kDirect) NWC_RETURN_IF_ERROR(TryUring());
  if (mode == IoMode::kDirect) {
    NWC_ASSIGN_OR_RETURN(choice->direct, OpenDirect(*choice->from.source));
    choice->from.direct = choice->direct.get();
  }
  if (mode == IoMode::kMmap) {
    NWC_ASSIGN_OR_RETURN(choice->mapped, MappedSource::Map(*choice->from.source));
    choice->from.source = choice->mapped.get();
  }
  choice->mode = mode;
  return {};
}

Result<IoChoice> Explicit(IoMode mode, const std::string& who, IoChoice choice) {
  if (const Status status = Prepare(mode, &choice); !status.ok()) {
    return Status(status.code(), choice.from.source->name() + ": reading by " + IoModeName(mode) +
                                     " was asked for: " + status.message() +
                                     ", expected a system that allows it; use auto or pread");
  }
  choice.required = true;
  choice.description = std::string(Label(mode)) + ": " + who;
  return choice;
}

Result<IoChoice> Automatic(IoChoice choice) {
  const ByteSource& source = *choice.from.source;
  const FileFacts facts = LookAtFile(source.descriptor(), source.size());
  if (facts.storage == StorageKind::kNetwork) choice.parallel_reads = kNetworkReads;
  auto [mode, why] = DecideAuto(facts);
  // Without O_DIRECT threads are faster on a cold disk than io_uring, so there is one way back.
  if (const Status status = Prepare(mode, &choice); !status.ok()) {
    if (status.code() == ErrorCode::kOutOfMemory) return status.WithContext(source.name());
    mode = IoMode::kPread;
    why = status.message();
  }
  choice.description = std::string(Label(mode)) + ": " + why;
  return choice;
}

Status NeedsAFile(const ByteSource& source, IoMode mode) {
  return Status(ErrorCode::kUsage, source.name() + ": reading by " + IoModeName(mode) +
                                       " was asked for, expected a file for that; use auto");
}

}  // namespace

AutoDecision DecideAuto(const FileFacts& facts) {
  if (facts.storage == StorageKind::kMemory) {
    // Nothing to wait for: threads share the copying.
    return {IoMode::kPread, facts.file_system + " is memory"};
  }
  if (facts.storage == StorageKind::kNetwork) {
    // io_uring would hand each such read to a thread in the kernel.
    return {IoMode::kPread, facts.file_system + " has to wait for another program"};
  }
  const std::string pages = facts.file_system + ", " +
                            std::to_string(std::lround(100 * facts.resident_share)) +
                            " % of its pages in memory";
  return {facts.resident_share >= kHotShare ? IoMode::kUring : IoMode::kDirect, pages};
}

Result<IoChoice> ChooseIo(const ByteSource& source, IoMode mode) {
  IoChoice choice;
  choice.from.source = &source;
  choice.parallel_reads = source.traits().parallel_reads;
  if (source.descriptor() < 0) {
    if (mode != IoMode::kAuto && mode != IoMode::kPread) return NeedsAFile(source, mode);
    choice.description = source.traits().kind;
    return choice;
  }
  if (mode != IoMode::kAuto) return Explicit(mode, "asked for", std::move(choice));
  if (const char* value = std::getenv("NWC_IO"); value != nullptr && *value != '\0') {
    const auto named = ParseIoMode(value);
    if (!named) {
      return Status(ErrorCode::kUsage, "NWC_IO is '" + std::string(value) + "', expected " +
                                           std::string(kIoModeNames));
    }
    if (*named != IoMode::kAuto) {
      return Explicit(*named, "NWC_IO=" + std::string(value), std::move(choice));
    }
  }
  return Automatic(std::move(choice));
}

}  // namespace nwc
