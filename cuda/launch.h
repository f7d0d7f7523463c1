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
  // Of a block, shared memory. kStream: for its largest window of tables; the net: for all it
  // needs.
  uint32_t shared_bytes = 0;
  uint32_t warps = 0;                // kStream: jobs of the block that has most
  uint32_t largest_group_count = 0;  // the net: groups of vectors of the item that has most
};

}  // namespace nwc
