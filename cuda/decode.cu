// The decode kernels: one warp a chunk for all that is entropy-coded, one block a group of vectors
// for the net. What they do is in the headers, which the emulator runs too; here is how it is laid
// over warps, blocks and shared memory.
#include "cuda/decode.cuh"
#include "cuda/device_warp.cuh"
#include "cuda/exact_decode.h"
#include "cuda/neural_latents.h"
#include "cuda/neural_net.h"
#include "cuda/neural_tensor.h"
#include "cuda/stream_decode.h"

namespace nwc {
namespace {

extern __shared__ Vector16 dynamic_memory[];

__device__ int WarpOfBlock() { return static_cast<int>(threadIdx.x) / kWarpLanes; }

// The whole block copies its window of the tables. A Vector16 is two buckets.
__device__ void CopyWindow(const StreamBlock& block) {
  const auto* const source = reinterpret_cast<const Vector16*>(block.tables + WindowBegin(block));
  const auto count = static_cast<uint32_t>(WindowBuckets(block)) / 2;
  for (uint32_t i = threadIdx.x; i < count; i += blockDim.x) dynamic_memory[i] = source[i];
  __syncthreads();
}

template <DType kDType>
__global__ void __launch_bounds__(kStreamWarps* kWarpLanes, 2)
    StreamKernel(const StreamBlock* __restrict__ blocks) {
  __shared__ StreamWarpMemory memory[kStreamWarps];
  const StreamBlock block = blocks[blockIdx.x];
  CopyWindow(block);
  const TableWindow tables(block, static_cast<uint32_t>(__cvta_generic_to_shared(dynamic_memory)));
  const auto number = static_cast<uint32_t>(WarpOfBlock());
  if (number >= block.job_count) return;
  // Not a copy: what is used once a stripe or a row of blocks would take registers from the rest.
  const StreamJob& job = block.jobs[number];
  DeviceWarp<StreamLane> warp;
  const uint32_t rule = DecodeStreamChunk<kDType>(warp, job, block, tables, &memory[number]);
  warp.Each([&](StreamLane&, int id) {
    if (id == 0) *job.rule = rule;
  });
}

template <typename Bits>
__global__ void __launch_bounds__(kExactWarps* kWarpLanes, 6)
    ExactKernel(const ExactJob* __restrict__ jobs, uint32_t count) {
  __shared__ ExactWarpMemory memory[kExactWarps];
  const uint32_t number = blockIdx.x * kExactWarps + static_cast<uint32_t>(WarpOfBlock());
  if (number >= count) return;
  const ExactJob job = jobs[number];
  DeviceWarp<ExactLane> warp;
  const uint32_t rule = DecodeExactChunk<Bits>(warp, job, &memory[WarpOfBlock()]);
  warp.Each([&](ExactLane&, int id) {
    if (id == 0) *job.rule = rule;
  });
}

__global__ void __launch_bounds__(kNeuralWarps* kWarpLanes, 6)
    LatentKernel(const NeuralJob* __restrict__ jobs, uint32_t count, uint32_t element_bytes) {
  __shared__ NeuralWarpMemory memory[kNeuralWarps];
  const uint32_t number = blockIdx.x * kNeuralWarps + static_cast<uint32_t>(WarpOfBlock());
  if (number >= count) return;
  const NeuralJob job = jobs[number];
  DeviceWarp<NeuralLane> warp;
  const uint32_t rule = DecodeLatents(warp, job, element_bytes, &memory[WarpOfBlock()]);
  warp.Each([&](NeuralLane&, int id) {
    if (id == 0) *job.rule = rule;
  });
}

// Blocks (group, job); a job with fewer groups leaves some of them idle.
template <DType kDType>
__global__ void __launch_bounds__(kNetThreads, 2) NetKernel(const NeuralJob* __restrict__ jobs) {
  const NeuralJob job = jobs[blockIdx.y];
  const uint32_t vectors = ChunkRows(job) * job.columns;
  const uint32_t first = blockIdx.x * kNetVectors;
  if (first >= vectors || *job.rule != 0) return;
  RunNetGroup<kDType>(DeviceBlock(), job, {first, Least(kNetVectors, vectors - first)},
                      reinterpret_cast<float*>(dynamic_memory));
}

template <DType kDType>
__global__ void __launch_bounds__(kTensorWarps* kWarpLanes, 1)
    TensorNetKernel(const NeuralJob* __restrict__ jobs) {
  __shared__ TensorMemory memory;
  const NeuralJob job = jobs[blockIdx.y];
  const uint32_t vectors = ChunkRows(job) * job.columns;
  const uint32_t first = blockIdx.x * kTensorVectors;
  if (first >= vectors || *job.rule != 0) return;
  DeviceTensorBlock<TensorLane> block;
  RunTensorGroup<kDType>(block, job, {first, Least(kTensorVectors, vectors - first)}, &memory);
}

template <typename Bits>
__global__ void __launch_bounds__(kNeuralWarps* kWarpLanes, 6)
    ExactChunkKernel(const NeuralJob* __restrict__ jobs, uint32_t count) {
  const uint32_t number = blockIdx.x * kNeuralWarps + static_cast<uint32_t>(WarpOfBlock());
  if (number >= count) return;
  const NeuralJob job = jobs[number];
  if (*job.rule != 0) return;
  DeviceWarp<NeuralLane> warp;
  OverwriteExactChunks<Bits>(warp, job);
}

unsigned BlocksOf(uint32_t count, int warps) {
  const auto per_block = static_cast<uint32_t>(warps);
  return count / per_block + (count % per_block != 0);
}

// More shared memory than 48 KiB is only given when it is asked for.
template <typename Kernel>
cudaError_t AllowShared(Kernel kernel, uint32_t bytes) {
  return cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                              static_cast<int>(bytes));
}

template <DType kDType>
cudaError_t LaunchStream(const DecodeLaunch& launch, cudaStream_t stream) {
  const auto* const blocks = static_cast<const StreamBlock*>(launch.items);
  const cudaError_t error = AllowShared(StreamKernel<kDType>, launch.shared_bytes);
  if (error != cudaSuccess) return error;
  StreamKernel<kDType>
      <<<launch.count, launch.warps * kWarpLanes, launch.shared_bytes, stream>>>(blocks);
  return cudaGetLastError();
}

template <DType kDType>
cudaError_t LaunchNet(const DecodeLaunch& launch, cudaStream_t stream) {
  const cudaError_t error = AllowShared(NetKernel<kDType>, launch.shared_bytes);
  if (error != cudaSuccess) return error;
  const dim3 grid(launch.largest_group_count, launch.count);
  NetKernel<kDType><<<grid, kNetThreads, launch.shared_bytes, stream>>>(
      static_cast<const NeuralJob*>(launch.items));
  return cudaGetLastError();
}

template <DType kDType>
cudaError_t LaunchFor(const DecodeLaunch& launch, cudaStream_t stream) {
  using Bits = typename ElementOf<kDType>::Bits;
  const auto* const exact = static_cast<const ExactJob*>(launch.items);
  const auto* const neural = static_cast<const NeuralJob*>(launch.items);
  const unsigned neural_blocks = BlocksOf(launch.count, kNeuralWarps);
  constexpr int kNeuralThreads = kNeuralWarps * kWarpLanes;
  switch (launch.kernel) {
    case KernelId::kStream:
      return LaunchStream<kDType>(launch, stream);
    case KernelId::kExact:
      ExactKernel<Bits>
          <<<BlocksOf(launch.count, kExactWarps), kExactWarps * kWarpLanes, 0, stream>>>(
              exact, launch.count);
      break;
    case KernelId::kNeuralLatents:
      LatentKernel<<<neural_blocks, kNeuralThreads, 0, stream>>>(neural, launch.count,
                                                                 sizeof(Bits));
      break;
    case KernelId::kNeuralNet:
      return LaunchNet<kDType>(launch, stream);
    case KernelId::kNeuralExact:
      ExactChunkKernel<Bits><<<neural_blocks, kNeuralThreads, 0, stream>>>(neural, launch.count);
      break;
    case KernelId::kNeuralTensor:
      TensorNetKernel<kDType><<<dim3(launch.largest_group_count, launch.count),
                                kTensorWarps * kWarpLanes, 0, stream>>>(neural);
      break;
  }
  return cudaGetLastError();
}

}  // namespace

cudaError_t LaunchDecode(const DecodeLaunch& launch, cudaStream_t stream) {
  switch (launch.dtype) {
    case DType::kF16:
      return LaunchFor<DType::kF16>(launch, stream);
    case DType::kBF16:
      return LaunchFor<DType::kBF16>(launch, stream);
    default:
      return LaunchFor<DType::kF32>(launch, stream);
  }
}

}  // namespace nwc
