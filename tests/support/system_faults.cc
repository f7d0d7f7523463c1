#include "tests/support/system_faults.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <liburing.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <mutex>

namespace nwc {
namespace {

struct State {
  std::mutex mutex;
  bool armed = false;
  Fault fault;
  size_t calls = 0, hits = 0;
  std::map<const io_uring*, unsigned> seen;  // completions of each ring that had their turn
};

State& TheState() {
  static State* const state = new State();  // never destroyed: calls come until the very end
  return *state;
}

// What becomes of a call that would move `bytes`: the number it may move, or -errno.
ptrdiff_t Judge(SystemCall call, size_t bytes) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  const auto all = static_cast<ptrdiff_t>(bytes);
  const Fault& fault = state.fault;
  if (!state.armed || fault.call != call) return all;
  const size_t number = state.calls++;
  if (number < fault.first || number - fault.first >= fault.count) return all;
  if (fault.passes_every != 0 && (number - fault.first) % fault.passes_every == 0) return all;
  if (fault.error == 0 && bytes <= fault.most_bytes) return all;
  ++state.hits;
  return fault.error != 0 ? -fault.error : static_cast<ptrdiff_t>(fault.most_bytes);
}

int Fail(ptrdiff_t judged) {
  errno = static_cast<int>(-judged);
  return -1;
}

// Of the completions that are new in the ring.
void JudgeCompletions(io_uring* ring) {
  State& state = TheState();
  unsigned begin = 0;
  const unsigned end = io_uring_smp_load_acquire(ring->cq.ktail);
  {
    const std::lock_guard lock(state.mutex);
    unsigned& seen = state.seen.try_emplace(ring, *ring->cq.khead).first->second;
    // One that came after the last call may have been taken already: too late for a fault.
    const unsigned taken = *ring->cq.khead;
    begin = end - taken < end - seen ? taken : seen;
    seen = end;
  }
  for (unsigned i = begin; i != end; ++i) {
    io_uring_cqe& entry = ring->cq.cqes[i & *ring->cq.kring_mask];
    if (entry.res <= 0) continue;
    entry.res = static_cast<int>(Judge(SystemCall::kRead, static_cast<size_t>(entry.res)));
  }
}

}  // namespace

FaultScope::FaultScope(const Fault& fault) {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  state.fault = fault;
  state.calls = state.hits = 0;
  state.armed = true;
}

FaultScope::~FaultScope() {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  state.armed = false;
}

size_t FaultScope::hits() const {
  State& state = TheState();
  const std::lock_guard lock(state.mutex);
  return state.hits;
}

}  // namespace nwc

using nwc::Judge;
using nwc::SystemCall;

// The calls themselves, as the C library declares them.
extern "C" {

ssize_t pread(int descriptor, void* buffer, size_t size, off_t offset) {
  const ptrdiff_t judged = Judge(SystemCall::kRead, size);
  if (judged < 0) return nwc::Fail(judged);
  return syscall(SYS_pread64, descriptor, buffer, static_cast<size_t>(judged), offset);
}

ssize_t pwrite(int descriptor, const void* buffer, size_t size, off_t offset) {
  const ptrdiff_t judged = Judge(SystemCall::kWrite, size);
  if (judged < 0) return nwc::Fail(judged);
  return syscall(SYS_pwrite64, descriptor, buffer, static_cast<size_t>(judged), offset);
}

int fsync(int descriptor) {
  const ptrdiff_t judged = Judge(SystemCall::kSync, 0);
  return judged < 0 ? nwc::Fail(judged) : static_cast<int>(syscall(SYS_fsync, descriptor));
}

int fdatasync(int descriptor) {
  const ptrdiff_t judged = Judge(SystemCall::kSync, 0);
  return judged < 0 ? nwc::Fail(judged) : static_cast<int>(syscall(SYS_fdatasync, descriptor));
}

int rename(const char* from, const char* to) noexcept {
  return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to,
              unsigned flags) noexcept {
  const ptrdiff_t judged = Judge(SystemCall::kRename, 0);
  if (judged < 0) return nwc::Fail(judged);
  return static_cast<int>(syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
}

int link(const char* from, const char* to) noexcept {
  const ptrdiff_t judged = Judge(SystemCall::kRename, 0);
  if (judged < 0) return nwc::Fail(judged);
  return static_cast<int>(syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0));
}

int io_uring_submit_and_wait(io_uring* ring, unsigned count) {
  using Function = int(io_uring*, unsigned);
  static auto* const real =
      reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "io_uring_submit_and_wait"));
  if (const ptrdiff_t judged = Judge(SystemCall::kSubmit, 0); judged < 0) {
    return static_cast<int>(judged);
  }
  const int result = real(ring, count);
  nwc::JudgeCompletions(ring);
  return result;
}

void io_uring_queue_exit(io_uring* ring) {
  using Function = void(io_uring*);
  static auto* const real = reinterpret_cast<Function*>(dlsym(RTLD_NEXT, "io_uring_queue_exit"));
  {
    const std::lock_guard lock(nwc::TheState().mutex);
    nwc::TheState().seen.erase(ring);
  }
  real(ring);
}

}  // extern "C"
