#include "cuda/nccl_broadcast.h"

#include <dlfcn.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "cuda/nccl_api.h"

namespace nwc {
namespace {

using Clock = std::chrono::steady_clock;

template <typename Function>
bool Find(void* library, const char* name, Function** function) {
  *function = reinterpret_cast<Function*>(dlsym(library, name));
  return *function != nullptr;
}

bool FindAll(void* library, NcclApi* api) {
  return Find(library, "ncclGetVersion", &api->GetVersion) &&
         Find(library, "ncclGetUniqueId", &api->GetUniqueId) &&
         Find(library, "ncclCommInitRankConfig", &api->CommInitRankConfig) &&
         Find(library, "ncclBroadcast", &api->Broadcast) &&
         Find(library, "ncclCommGetAsyncError", &api->CommGetAsyncError) &&
         Find(library, "ncclCommFinalize", &api->CommFinalize) &&
         Find(library, "ncclCommDestroy", &api->CommDestroy) &&
         Find(library, "ncclCommAbort", &api->CommAbort) &&
         Find(library, "ncclGetErrorString", &api->GetErrorString);
}

// It stays in the process: its threads may outlive a group.
Result<NcclApi> LoadNccl(const char* name) {
  void* const library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = dlerror();
    return Status(ErrorCode::kUnsupported,
                  std::string("no NCCL: ") + (why != nullptr ? why : name) +
                      "; install it, or let the ranks go through the host's memory");
  }
  NcclApi api{};
  int version = 0;
  if (!FindAll(library, &api) || api.GetVersion(&version) != kNcclSuccess ||
      version < kNcclOldestVersion) {
    return Status(ErrorCode::kUnsupported, std::string(name) + ": NCCL of version " +
                                               std::to_string(version) +
                                               ", expected 2.18 or later; install a newer one");
  }
  return api;
}

}  // namespace

struct NcclBroadcaster::Impl {
  std::unique_ptr<Broadcaster> host;
  DeviceRuntime* runtime = nullptr;
  NcclApi api{};

  // A broadcast that another rank never begins holds up the device, and with it calls that wait for
  // the device, as freeing memory does. A thread of its own ends it when no call comes for long.
  std::mutex mutex;  // guards what follows, up to the thread
  std::condition_variable wake;
  NcclComm comm = nullptr;
  Clock::time_point patience = Clock::time_point::max();  // of the broadcasts under way
  bool gave_up = false, stop = false;
  std::thread watch;

  void Watch();
  void AbortComm();  // with the mutex held
  [[nodiscard]] Clock::time_point EndOf(int timeouts) const {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(
                              timeouts * std::chrono::duration<double>(host->timeout_seconds()));
  }
  Status Failed(const char* what, NcclResult result) const {
    return Status(ErrorCode::kIo,
                  runtime->name() + ": NCCL: " + what + ": " + api.GetErrorString(result));
  }
  // Calls return before they are done.
  Status Finish(const char* what, NcclResult result) const;
  Status Join();
};

Status NcclBroadcaster::Impl::Finish(const char* what, NcclResult result) const {
  constexpr std::chrono::microseconds kPoll(50);
  const auto end = EndOf(1);
  while (result == kNcclInProgress && comm != nullptr) {
    if (Clock::now() > end) {
      return Status(ErrorCode::kIo, runtime->name() + ": NCCL: " + what + " did not end in time");
    }
    NcclResult now = kNcclSuccess;
    const NcclResult asked = api.CommGetAsyncError(comm, &now);
    result = asked == kNcclSuccess ? now : asked;
    if (result == kNcclInProgress) std::this_thread::sleep_for(kPoll);
  }
  return result == kNcclSuccess ? Status() : Failed(what, result);
}

void NcclBroadcaster::Impl::AbortComm() {
  if (comm != nullptr) (void)api.CommAbort(comm);
  comm = nullptr;
}

void NcclBroadcaster::Impl::Watch() {
  std::unique_lock lock(mutex);
  while (!stop) {
    if (patience == Clock::time_point::max()) {
      wake.wait(lock);
    } else if (wake.wait_until(lock, patience) == std::cv_status::timeout &&
               Clock::now() >= patience) {
      gave_up = true;
      patience = Clock::time_point::max();
      AbortComm();
    }
  }
}

// Ranks agree before each step that needs all of them.
Status NcclBroadcaster::Impl::Join() {
  NcclUniqueId id{};
  Status status = runtime->MakeCurrent();
  if (status.ok() && host->rank() == 0) {
    const NcclResult result = api.GetUniqueId(&id);
    if (result != kNcclSuccess) status = Failed("making a group", result);
  }
  NWC_RETURN_IF_ERROR(host->Agree(status));
  NWC_RETURN_IF_ERROR(
      host->Broadcast({reinterpret_cast<uint8_t*>(id.internal), sizeof(id.internal)}, 0));
  NcclConfig config;
  const NcclResult result = api.CommInitRankConfig(&comm, static_cast<int>(host->world()), id,
                                                   static_cast<int>(host->rank()), &config);
  return host->Agree(Finish("joining a group", result));
}

NcclBroadcaster::NcclBroadcaster(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

NcclBroadcaster::~NcclBroadcaster() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->wake.notify_one();
  if (impl_->watch.joinable()) impl_->watch.join();
  if (impl_->comm == nullptr) return;
  if (impl_->Finish("leaving a group", impl_->api.CommFinalize(impl_->comm)).ok()) {
    (void)impl_->api.CommDestroy(impl_->comm);
  } else {
    (void)impl_->api.CommAbort(impl_->comm);
  }
}

Result<std::unique_ptr<NcclBroadcaster>> NcclBroadcaster::Create(std::unique_ptr<Broadcaster> host,
                                                                 DeviceRuntime* runtime,
                                                                 const char* library) {
  auto impl = std::make_unique<Impl>();
  impl->host = std::move(host);
  impl->runtime = runtime;
  const auto api = LoadNccl(library);
  NWC_RETURN_IF_ERROR(impl->host->Agree(api.status()));
  impl->api = *api;
  std::unique_ptr<NcclBroadcaster> ranks(new NcclBroadcaster(std::move(impl)));
  if (const Status status = ranks->impl_->Join(); !status.ok()) {
    ranks->Abort();
    return status;
  }
  ranks->impl_->watch = std::thread(&Impl::Watch, ranks->impl_.get());
  return ranks;
}

size_t NcclBroadcaster::rank() const { return impl_->host->rank(); }
size_t NcclBroadcaster::world() const { return impl_->host->world(); }
Status NcclBroadcaster::Broadcast(MutableByteSpan bytes, size_t root) {
  return impl_->host->Broadcast(bytes, root);
}
double NcclBroadcaster::timeout_seconds() const { return impl_->host->timeout_seconds(); }

// By then the host has come on: it waits for the device with an end of its own.
Status NcclBroadcaster::Agree(const Status& mine) {
  bool gave_up = false;
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->patience = Clock::time_point::max();
    gave_up = impl_->gave_up;
  }
  if (!gave_up) return impl_->host->Agree(mine);
  return impl_->host->Agree(
      Status(ErrorCode::kIo, impl_->runtime->name() + ": a broadcast did not end in time"));
}

Status NcclBroadcaster::BroadcastOnDevice(DeviceAddress bytes, size_t size_bytes, size_t root,
                                          DeviceStream stream) {
  NWC_RETURN_IF_ERROR(impl_->runtime->MakeCurrent());
  const std::lock_guard lock(impl_->mutex);
  if (impl_->comm == nullptr) {
    return Status(ErrorCode::kIo, impl_->runtime->name() + ": the group of ranks was ended");
  }
  impl_->patience = impl_->EndOf(2);
  impl_->wake.notify_one();
  return impl_->Finish("broadcast",
                       impl_->api.Broadcast(bytes.value, bytes.value, size_bytes, kNcclUint8,
                                            static_cast<int>(root), impl_->comm, stream));
}

void NcclBroadcaster::Abort() {
  impl_->host->Abort();
  const std::lock_guard lock(impl_->mutex);
  impl_->AbortComm();
}

}  // namespace nwc
