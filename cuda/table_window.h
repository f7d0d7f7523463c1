// The alias tables of a `stream` block's chunks: a window of them in shared memory, the rest where
// they lie.
#pragma once

#include "cuda/decode_jobs.h"
#include "cuda/device_code.h"

namespace nwc {

// Position among block.tables, and number, of the buckets in the window.
NWC_DEVICE_INLINE size_t WindowBegin(const StreamBlock& block) {
  return static_cast<size_t>(2 * block.window_low) << block.bucket_bits;
}
NWC_DEVICE_INLINE size_t WindowBuckets(const StreamBlock& block) {
  return static_cast<size_t>(2 * block.window_count) << block.bucket_bits;
}

class TableWindow {
 public:
#ifdef __CUDACC__
  using Shared = uint32_t;  // an address in shared memory
#else
  using Shared = const AliasBucket*;
#endif

  // `shared`: a copy of the window.
  NWC_DEVICE_INLINE TableWindow(const StreamBlock& block, Shared shared)
      : shared_(shared),
        begin_(reinterpret_cast<const uint8_t*>(block.tables + WindowBegin(block))),
        low_(block.window_low),
        last_(block.window_count - 1),
        bits_(block.bucket_bits),
        pair_bits_(block.bucket_bits + 4),
        capacity_(kProbabilityScale >> block.bucket_bits) {
    static_assert(sizeof(AliasBucket) == 8);  // two tables of 1 << bits buckets: 1 << (bits + 4)
  }

  [[nodiscard]] NWC_DEVICE_INLINE int low() const { return low_; }

  // DecodeSymbol of table (t, q), t clamped to what there is. `t_in_window` is t - low(), `q32` is
  // 32q.
  [[nodiscard]] NWC_DEVICE_INLINE uint32_t Decode(int t_in_window, uint32_t q32,
                                                  uint32_t* x) const {
    const int wanted = Least(Greatest(t_in_window, -low_), kTableCount - 1 - low_);
    const int there = Least(Greatest(wanted, 0), last_);
    const uint32_t in_pair = (q32 << (bits_ - 2)) + 8 * BucketOf(*x, bits_);
    const AliasBucket entry =
        Load((static_cast<uint32_t>(there) << pair_bits_) + in_pair,
             static_cast<int32_t>((static_cast<uint32_t>(wanted) << pair_bits_) + in_pair),
             there != wanted);
    return DecodeEntry(entry, bits_, capacity_, x);
  }

 private:
  // The bucket at byte `at` of the window or, for lanes that are outside, at `elsewhere` from its
  // begin: without branches, which would cost every line more than the rare look-up outside does.
  [[nodiscard]] NWC_DEVICE_INLINE AliasBucket Load(uint32_t at, int32_t elsewhere,
                                                   bool outside) const {
    AliasBucket bucket;
#ifdef __CUDACC__
    asm volatile(
        "{\n"
        " .reg .pred outside;\n"
        " setp.ne.u32 outside, %4, 0;\n"
        " ld.shared.v2.u32 {%0, %1}, [%2];\n"
        " @outside ld.global.nc.v2.u32 {%0, %1}, [%3];\n"
        "}"
        : "=&r"(bucket.primary), "=&r"(bucket.alias)
        : "r"(shared_ + at), "l"(begin_ + elsewhere), "r"(static_cast<uint32_t>(outside)));
#else
    std::memcpy(&bucket,
                outside ? begin_ + elsewhere : reinterpret_cast<const uint8_t*>(shared_) + at,
                sizeof(bucket));
#endif
    return bucket;
  }

  Shared shared_;
  const uint8_t* begin_;  // of the window among all tables
  int low_, last_, bits_, pair_bits_;
  uint32_t capacity_;
};

}  // namespace nwc
