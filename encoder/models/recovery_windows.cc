#include "encoder/models/recovery_windows.h"

#include <algorithm>
#include <span>

namespace nwc {
namespace {

constexpr size_t kHeldOutShare = 8;
constexpr size_t kStepTokens = 512;

void Append(std::span<const int32_t> ids, TokenWindows* windows) {
  if (windows->begins.empty()) windows->begins.push_back(0);
  windows->ids.insert(windows->ids.end(), ids.begin(), ids.end());
  windows->begins.push_back(windows->ids.size());
  windows->length = std::max(windows->length, ids.size());
  ++windows->windows;
}

}  // namespace

Result<SplitWindows> SplitForRecovery(const TokenWindows& windows) {
  if (windows.windows < 2) {
    return Status(ErrorCode::kUsage,
                  "recovery needs at least 2 windows: some to tune on, some to check with");
  }
  SplitWindows split;
  for (size_t i = 0; i < windows.windows; ++i) {
    const bool held_out = i % kHeldOutShare == kHeldOutShare - 1 ||
                          (windows.windows < kHeldOutShare && i + 1 == windows.windows);
    Append(windows.Window(i), held_out ? &split.held_out : &split.tuned);
  }
  return split;
}

std::vector<TokenWindows> GroupForSteps(const TokenWindows& windows) {
  std::vector<TokenWindows> groups;
  for (size_t i = 0; i < windows.windows; ++i) {
    const auto ids = windows.Window(i);
    if (groups.empty() || groups.back().ids.size() + ids.size() > kStepTokens) {
      groups.emplace_back();
    }
    Append(ids, &groups.back());
  }
  return groups;
}

}  // namespace nwc
