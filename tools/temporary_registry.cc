#include "tools/temporary_registry.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <climits>
#include <cstring>

namespace nwc {
namespace {

enum State : int { kFree, kBusy, kReady };

struct Slot {
  std::atomic<int> state{kFree};
  std::array<char, PATH_MAX> path{};  // readable while kReady
};
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler reads it");

constinit std::array<Slot, 16> slots;

}  // namespace

int RegisterTemporary(const std::string& path) {
  if (path.size() >= PATH_MAX) return -1;
  for (size_t i = 0; i < slots.size(); ++i) {
    int expected = kFree;
    if (!slots[i].state.compare_exchange_strong(expected, kBusy)) continue;
    std::memcpy(slots[i].path.data(), path.c_str(), path.size() + 1);
    slots[i].state = kReady;
    return static_cast<int>(i);
  }
  return -1;
}

void UnregisterTemporary(int slot) {
  if (slot >= 0) slots[static_cast<size_t>(slot)].state = kFree;
}

bool IsRegisteredTemporary(const std::string& path) {
  for (const Slot& slot : slots) {
    if (slot.state == kReady && path == slot.path.data()) return true;
  }
  return false;
}

void UnlinkRegisteredTemporaries() {
  for (const Slot& slot : slots) {
    if (slot.state == kReady) unlink(slot.path.data());
  }
}

}  // namespace nwc
