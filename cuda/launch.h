// One launch of a decode kernel, on the GPU or in the emulator: what the two have in common.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/dtype.h"

namespace nwc {

enum class KernelId : uint8_t {
  kStream,         // items: StreamBlock
  kExact,          // items: ExactJob
  kNeuralLatents,  // items: NeuralJob, as of all that follow
  kNeuralNet,      // binary32, the bits of the specification
  kNeuralTensor,   // tensor cores: BF16 factors, within the tolerance of spec/codec.md section 11
  kNeuralExact,    // the chunks that are stored exactly, over the rest
};

struct DecodeLaunch {
  KernelId kernel = KernelId::kStream;
  DType dtype = DType::kBF16;   // F16, BF16 or F32
  const void* items = nullptr;  // in device memory, at a multiple of 16
  uint32_t count = 0;           // at least 1
  // kStream: of shared memory for the tables of a block, or 0: they are read where they are.
  // Otherwise, for the net: of shared memory.
  uint32_t shared_bytes = 0;
  uint32_t largest_group_count = 0;  // the net: groups of vectors of the item that has most
};

// Bytes of shared memory that a block may use for its tables; more tables are read from global
// memory.
inline constexpr uint32_t kMaxSharedTableBytes = 64 << 10;

}  // namespace nwc
