// cuda/nccl_api.h against NCCL's own header: compiled where that is installed.
#include "cuda/nccl_api.h"

#include <nccl.h>

#include <cstddef>
#include <type_traits>

namespace nwc {
namespace {

static_assert(sizeof(NcclUniqueId) == sizeof(ncclUniqueId));
static_assert(alignof(NcclUniqueId) == alignof(ncclUniqueId));
static_assert(std::is_pointer_v<ncclComm_t> && std::is_pointer_v<cudaStream_t>);
static_assert(sizeof(ncclResult_t) == sizeof(NcclResult));
static_assert(ncclSuccess == kNcclSuccess && ncclInProgress == kNcclInProgress);
static_assert(ncclUint8 == kNcclUint8 && sizeof(ncclDataType_t) == sizeof(int));
static_assert(NCCL_VERSION(2, 18, 0) == kNcclOldestVersion && NCCL_VERSION(2, 14, 0) == 21400);

static_assert(offsetof(NcclConfig, size_bytes) == offsetof(ncclConfig_t, size));
static_assert(offsetof(NcclConfig, magic) == offsetof(ncclConfig_t, magic));
static_assert(offsetof(NcclConfig, version) == offsetof(ncclConfig_t, version));
static_assert(offsetof(NcclConfig, blocking) == offsetof(ncclConfig_t, blocking));
static_assert(sizeof(NcclConfig) <= offsetof(ncclConfig_t, minCTAs));

// The same parameters but for the names of types of one size.
template <typename Own, typename Theirs>
struct Same : std::false_type {};
template <typename R1, typename... A1, typename R2, typename... A2>
struct Same<R1 (*)(A1...), R2 (*)(A2...)> {
  static constexpr bool Compare() {
    if constexpr (sizeof...(A1) != sizeof...(A2)) {
      return false;
    } else {
      return sizeof(R1) == sizeof(R2) &&
             ((sizeof(A1) == sizeof(A2) && std::is_pointer_v<A1> == std::is_pointer_v<A2>)&&...);
    }
  }
  static constexpr bool value = Compare();
};
#define NWC_SAME(member, function) \
  static_assert(Same<decltype(NcclApi::member), decltype(&function)>::value)
NWC_SAME(GetVersion, ncclGetVersion);
NWC_SAME(GetUniqueId, ncclGetUniqueId);
NWC_SAME(CommInitRankConfig, ncclCommInitRankConfig);
NWC_SAME(Broadcast, ncclBroadcast);
NWC_SAME(CommGetAsyncError, ncclCommGetAsyncError);
NWC_SAME(CommFinalize, ncclCommFinalize);
NWC_SAME(CommDestroy, ncclCommDestroy);
NWC_SAME(CommAbort, ncclCommAbort);
NWC_SAME(GetErrorString, ncclGetErrorString);

}  // namespace
}  // namespace nwc
