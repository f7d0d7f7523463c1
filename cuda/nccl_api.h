// What the project calls of NCCL, declared here so that its header is not needed: the stable part
// of its ABI, nccl.h of version 2.18 and later (tests/cuda/nccl_api_test.cc compares where it is
// found).
#pragma once

#include <climits>
#include <cstddef>

namespace nwc {

struct NcclUniqueId {  // ncclUniqueId
  char internal[128];
};

using NcclComm = void*;    // ncclComm_t
using NcclResult = int;    // ncclResult_t
using NcclStream = void*;  // cudaStream_t

inline constexpr NcclResult kNcclSuccess = 0;
inline constexpr NcclResult kNcclInProgress = 7;
inline constexpr int kNcclUint8 = 1;  // ncclDataType_t
inline constexpr int kNcclOldestVersion = 21800;

// The first members of ncclConfig_t: the library takes as many as `size_bytes` says and sets the
// rest itself.
struct NcclConfig {
  size_t size_bytes = sizeof(NcclConfig);
  unsigned magic = 0xcafebeef;
  unsigned version = 21400;  // which had no more members
  int blocking = 0;
  int unused = INT_MIN;  // "not set"
};

struct NcclApi {
  NcclResult (*GetVersion)(int* version);
  NcclResult (*GetUniqueId)(NcclUniqueId* id);
  NcclResult (*CommInitRankConfig)(NcclComm* comm, int ranks, NcclUniqueId id, int rank,
                                   NcclConfig* config);
  NcclResult (*Broadcast)(const void* send, void* receive, size_t count, int type, int root,
                          NcclComm comm, NcclStream stream);
  NcclResult (*CommGetAsyncError)(NcclComm comm, NcclResult* error);
  NcclResult (*CommFinalize)(NcclComm comm);
  NcclResult (*CommDestroy)(NcclComm comm);
  NcclResult (*CommAbort)(NcclComm comm);
  const char* (*GetErrorString)(NcclResult result);
};

}  // namespace nwc
