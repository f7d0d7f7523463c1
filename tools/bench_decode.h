// Speed of hashing and decoding with everything in memory: no reading is timed.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "loader/loader.h"

namespace nwc {

// One tensor as stored, with room for what it decodes to.
struct PackedTensorBytes {
  const TensorInfo* info = nullptr;
  ChunkCodec codec;
  AlignedBuffer stored;  // from its first stored byte to its last
  AlignedBuffer decoded;

  [[nodiscard]] uint64_t begin() const;  // offset of the first stored byte in the file
  [[nodiscard]] ByteSpan chunk(size_t number) const;
  [[nodiscard]] ByteSpan side() const;
};

// Tensors in file order, of each profile as many as decode to at most `bytes_a_profile`, and one of
// each that there is. Empty and unsupported tensors are left out.
Result<std::vector<PackedTensorBytes>> ReadSample(const Loader& loader, uint64_t bytes_a_profile);

struct Speed {
  uint64_t tensors = 0, weights = 0;
  uint64_t stored_bytes = 0, decoded_bytes = 0;  // of one run
  double seconds = 0;                            // of one run, the median
  double fastest_seconds = 0;                    // far below: the machine has other work
};

// Times `runs` calls of `body` after one that does not count; a call that is too short for the
// clock is repeated inside a run. Fills in the seconds.
void TimeRuns(int runs, const std::function<void()>& body, Speed* speed);

// XXH3-64 of every chunk, one thread.
Speed MeasureHash(const std::vector<PackedTensorBytes>& sample, int runs);

// Whole tensors, without hashes. With one thread, tensor after
// tensor; with more, chunks of all tensors at once. An error is one of the data.
Result<Speed> MeasureDecode(const std::vector<PackedTensorBytes*>& tensors, int threads, int runs);

}  // namespace nwc
