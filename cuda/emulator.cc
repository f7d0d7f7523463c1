#include "cuda/emulator.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "cuda/emulated_warp.h"
#include "cuda/exact_decode.h"
#include "cuda/neural_latents.h"
#include "cuda/neural_net.h"
#include "cuda/neural_tensor.h"
#include "cuda/stream_decode.h"

namespace nwc {
namespace {

template <DType kDType>
void EmulateStreamBlock(const StreamBlock& block) {
  // A copy of just the window: a look-up beyond it is seen by AddressSanitizer.
  const AliasBucket* const first = block.tables + WindowBegin(block);
  const std::vector<AliasBucket> shared(first, first + WindowBuckets(block));
  const TableWindow tables(block, shared.data());
  for (uint32_t i = 0; i < block.job_count; ++i) {
    EmulatedWarp<StreamLane> warp;
    StreamWarpMemory memory;
    *block.jobs[i].rule = DecodeStreamChunk<kDType>(warp, block.jobs[i], block, tables, &memory);
  }
}

template <DType kDType>
void EmulateItem(const DecodeLaunch& launch, uint32_t i) {
  using Bits = typename ElementOf<kDType>::Bits;
  const auto* const neural = static_cast<const NeuralJob*>(launch.items) + i;
  switch (launch.kernel) {
    case KernelId::kStream:
      return EmulateStreamBlock<kDType>(static_cast<const StreamBlock*>(launch.items)[i]);
    case KernelId::kExact: {
      EmulatedWarp<ExactLane> warp;
      ExactWarpMemory memory;
      const ExactJob& job = static_cast<const ExactJob*>(launch.items)[i];
      *job.rule = DecodeExactChunk<Bits>(warp, job, &memory);
      return;
    }
    case KernelId::kNeuralLatents: {
      EmulatedWarp<NeuralLane> warp;
      NeuralWarpMemory memory;
      *neural->rule = DecodeLatents(warp, *neural, sizeof(Bits), &memory);
      return;
    }
    case KernelId::kNeuralNet: {
      std::vector<float> memory(launch.shared_bytes / sizeof(float));
      const EmulatedBlock block(kNetThreads);
      const uint32_t vectors = ChunkRows(*neural) * neural->columns;
      for (uint32_t first = 0; *neural->rule == 0 && first < vectors; first += kNetVectors) {
        RunNetGroup<kDType>(block, *neural, {first, std::min(kNetVectors, vectors - first)},
                            memory.data());
      }
      return;
    }
    case KernelId::kNeuralExact: {
      EmulatedWarp<NeuralLane> warp;
      if (*neural->rule == 0) OverwriteExactChunks<Bits>(warp, *neural);
      return;
    }
    case KernelId::kNeuralTensor: {
      const auto memory = std::make_unique<TensorMemory>();
      const uint32_t vectors = ChunkRows(*neural) * neural->columns;
      for (uint32_t first = 0; *neural->rule == 0 && first < vectors; first += kTensorVectors) {
        EmulatedTensorBlock<TensorLane, kTensorWarps> block;
        RunTensorGroup<kDType>(block, *neural, {first, std::min(kTensorVectors, vectors - first)},
                               memory.get());
      }
      return;
    }
  }
}

}  // namespace

void EmulateLaunch(const DecodeLaunch& launch) {
  for (uint32_t i = 0; i < launch.count; ++i) {
    switch (launch.dtype) {
      case DType::kF16:
        EmulateItem<DType::kF16>(launch, i);
        break;
      case DType::kBF16:
        EmulateItem<DType::kBF16>(launch, i);
        break;
      default:
        EmulateItem<DType::kF32>(launch, i);
    }
  }
}

}  // namespace nwc
