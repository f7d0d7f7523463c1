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
void EmulateStreamBlock(const StreamBlock& block, uint32_t shared_bytes) {
  const AliasBucket* const first =
      block.tables + (static_cast<size_t>(2 * block.table_low) << block.bucket_bits);
  // A copy of just the tables that are in use: a look-up beyond them is seen by AddressSanitizer.
  std::vector<AliasBucket> shared;
  if (shared_bytes != 0) {
    const auto tables = static_cast<size_t>(2 * (block.table_high - block.table_low + 1));
    shared.assign(first, first + (tables << block.bucket_bits));
  }
  for (uint32_t i = 0; i < block.job_count; ++i) {
    EmulatedWarp<StreamLane> warp;
    StreamWarpMemory memory;
    *block.jobs[i].rule = DecodeStreamChunk<kDType>(
        warp, block.jobs[i], block, shared_bytes != 0 ? shared.data() : first, &memory);
  }
}

template <DType kDType>
void EmulateItem(const DecodeLaunch& launch, uint32_t i) {
  using Bits = typename ElementOf<kDType>::Bits;
  const auto* const neural = static_cast<const NeuralJob*>(launch.items) + i;
  switch (launch.kernel) {
    case KernelId::kStream:
      return EmulateStreamBlock<kDType>(static_cast<const StreamBlock*>(launch.items)[i],
                                        launch.shared_bytes);
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
