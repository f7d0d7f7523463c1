// A library with the names and the habits of NCCL, for memory that is the host's: ranks exchange
// files in a folder that the group's id names. Calls return before they are done; a broadcast is
// work on a stream, and never ends when its root is gone, unless the group is aborted.
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <system_error>

#include "cuda/nccl_api.h"
#include "tests/cuda/fake_nccl.h"

namespace {

namespace fs = std::filesystem;

struct Group {
  std::string folder;
  int rank = 0, ranks = 0;
  int broadcasts = 0;
  std::atomic<bool> aborted = false;
};

// Held by works on streams, too.
struct Handle {
  std::shared_ptr<Group> group;
};

struct Work {
  std::shared_ptr<Group> group;
  void* memory;
  size_t size_bytes;
  int number, root;
};

FakeNcclEnqueue enqueue = nullptr;

// True when it is over.
bool Try(const Work& work) {
  if (work.group->aborted) return true;
  const std::string path = work.group->folder + "/" + std::to_string(work.number);
  const auto size = static_cast<std::streamsize>(work.size_bytes);
  if (work.group->rank == work.root) {
    std::ofstream(path + ".part", std::ios::binary)
        .write(static_cast<const char*>(work.memory), size);
    fs::rename(path + ".part", path);
    return true;
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return false;
  file.read(static_cast<char*>(work.memory), size);
  return true;
}

bool Run(void* argument) {
  auto* const work = static_cast<Work*>(argument);
  if (!Try(*work)) return false;
  delete work;
  return true;
}

}  // namespace

extern "C" {

void FakeNcclSetStreams(FakeNcclEnqueue function) { enqueue = function; }

nwc::NcclResult ncclGetVersion(int* version) {
  *version = 22800;
  return nwc::kNcclSuccess;
}

nwc::NcclResult ncclGetUniqueId(nwc::NcclUniqueId* id) {
  const char* const parent = std::getenv(kFakeNcclFolder);
  if (parent == nullptr) return 2;
  std::string folder = std::string(parent) + "/XXXXXX";
  if (mkdtemp(folder.data()) == nullptr || folder.size() >= sizeof(id->internal)) return 2;
  std::memcpy(id->internal, folder.c_str(), folder.size() + 1);
  return nwc::kNcclSuccess;
}

nwc::NcclResult ncclCommInitRankConfig(nwc::NcclComm* comm, int ranks, nwc::NcclUniqueId id,
                                       int rank, nwc::NcclConfig* config) {
  if (config->magic != 0xcafebeef || config->size_bytes < 20 || config->blocking != 0) return 4;
  auto group = std::make_shared<Group>();
  group->folder = id.internal;
  group->rank = rank;
  group->ranks = ranks;
  std::ofstream(group->folder + "/rank" + std::to_string(rank)) << "here";
  *comm = new Handle{std::move(group)};
  return nwc::kNcclInProgress;
}

nwc::NcclResult ncclCommGetAsyncError(nwc::NcclComm comm, nwc::NcclResult* error) {
  const Group& group = *static_cast<Handle*>(comm)->group;
  *error = nwc::kNcclSuccess;
  for (int rank = 0; rank < group.ranks; ++rank) {
    if (!fs::exists(group.folder + "/rank" + std::to_string(rank))) *error = nwc::kNcclInProgress;
  }
  return nwc::kNcclSuccess;
}

nwc::NcclResult ncclBroadcast(const void* send, void* receive, size_t count, int type, int root,
                              nwc::NcclComm comm, nwc::NcclStream stream) {
  if (type != nwc::kNcclUint8 || send != receive || enqueue == nullptr) return 4;
  const auto& group = static_cast<Handle*>(comm)->group;
  enqueue(stream, &Run, new Work{group, receive, count, group->broadcasts++, root});
  return nwc::kNcclSuccess;
}

nwc::NcclResult ncclCommFinalize(nwc::NcclComm) { return nwc::kNcclSuccess; }

nwc::NcclResult ncclCommDestroy(nwc::NcclComm comm) {
  delete static_cast<Handle*>(comm);
  return nwc::kNcclSuccess;
}

nwc::NcclResult ncclCommAbort(nwc::NcclComm comm) {
  static_cast<Handle*>(comm)->group->aborted = true;
  return ncclCommDestroy(comm);
}

const char* ncclGetErrorString(nwc::NcclResult) { return "an error of the fake NCCL"; }

}  // extern "C"
