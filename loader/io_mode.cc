#include "loader/io_mode.h"

#include <algorithm>
#include <array>

namespace nwc {
namespace {

constexpr std::array<const char*, 5> kNames = {"auto", "uring", "direct", "pread", "mmap"};

}  // namespace

const char* IoModeName(IoMode mode) { return kNames[static_cast<size_t>(mode)]; }

std::optional<IoMode> ParseIoMode(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<IoMode>(found - kNames.begin());
}

}  // namespace nwc
