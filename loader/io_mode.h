// The ways of reading a file, and their names.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace nwc {

enum class IoMode : uint8_t {
  kAuto,    // what suits the file; falls back where the system refuses, and says why
  kUring,   // io_uring through the page cache
  kDirect,  // io_uring past the page cache (O_DIRECT): leaves no pages behind for the next load
  kPread,   // threads with pread
  // Threads that copy from a mapping. The kernel does the copying (process_vm_readv), so that a
  // file truncated meanwhile is an error of the read and no SIGBUS.
  kMmap,
};

// "auto", "uring", "direct", "pread", "mmap".
const char* IoModeName(IoMode mode);
std::optional<IoMode> ParseIoMode(std::string_view name);
inline constexpr const char* kIoModeNames = "auto, uring, direct, pread or mmap";  // for messages

}  // namespace nwc
