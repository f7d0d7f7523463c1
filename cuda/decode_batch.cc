#include "cuda/decode_batch.h"

#include <algorithm>
#include <string>
#include <tuple>
#include <utility>

#include "cuda/neural_net.h"
#include "cuda/neural_tensor.h"
#include "cuda/stream_decode.h"

namespace nwc {
namespace {

constexpr size_t kAlignment = DecodeBatch::kDescriptionAlignment;
constexpr size_t kMaxNameInMessage = 200;

// Most a chunk takes of a description, its rule included.
constexpr size_t kChunkBytes = sizeof(uint32_t) + std::max({sizeof(StreamJob) + sizeof(StreamBlock),
                                                            sizeof(ExactJob), sizeof(NeuralJob)});
constexpr size_t kParts = 5;  // each begins aligned

// A batch has this many blocks before they get more warps: copies of the tables cost less than
// multiprocessors that idle.
constexpr size_t kSpreadBlocks = 64;

uint32_t PairBytes(int bucket_bits) {  // tables (t, 0) and (t, 1)
  return static_cast<uint32_t>(2 * sizeof(AliasBucket)) << bucket_bits;
}

// Half of what a multiprocessor has, less what blocks have of their own, so that two fit.
uint32_t WindowBytes(size_t max_shared_bytes) {
  constexpr size_t kReserved = 1024;  // by CUDA, a block
  constexpr size_t kOwn = kStreamWarps * sizeof(StreamWarpMemory) + kReserved;
  const size_t least = PairBytes(kMaxBucketBits);
  const size_t half = max_shared_bytes / 2;
  return static_cast<uint32_t>(half < kOwn + least ? least : (half - kOwn) / least * least);
}

// Places `items` in the description; their address on the device.
template <typename T>
const T* Place(const std::vector<T>& items, MutableByteSpan out, DeviceAddress device, size_t* at) {
  *at = AlignUp(*at, kAlignment);
  assert(*at + items.size() * sizeof(T) <= out.size());
  if (!items.empty()) std::memcpy(&out[*at], items.data(), items.size() * sizeof(T));
  const auto* const address = reinterpret_cast<const T*>(device.value + *at);
  *at += items.size() * sizeof(T);
  return address;
}

// Calls body(first, end) for each run of equal keys.
template <typename Key, typename Body>
void ForEachRun(size_t count, const Key& key, const Body& body) {
  for (size_t first = 0, end; first < count; first = end) {
    end = first + 1;
    while (end < count && key(end) == key(first)) ++end;
    body(first, end);
  }
}

}  // namespace

DecodeBatch::DecodeBatch(size_t max_shared_bytes, NeuralArithmetic arithmetic)
    : arithmetic_(arithmetic), window_bytes_(WindowBytes(max_shared_bytes)) {}

size_t DecodeBatch::MaxDescriptionBytes(size_t chunk_count) {
  return chunk_count * kChunkBytes + kParts * kAlignment;
}

size_t DecodeBatch::LatentBytes(const DeviceTensorDecoder& decoder, size_t number) {
  if (decoder.codec().neural == nullptr) return 0;
  return LatentBytes(decoder.tensor(), decoder.codec().neural->settings(), number);
}

size_t DecodeBatch::LatentBytes(const TensorInfo& tensor, const NeuralSettings& settings,
                                size_t number) {
  const TileRange tile = tensor.Tile(number);
  return DivideRoundingUp(tile.rows(), settings.chunk) * tile.columns() * settings.latents *
         sizeof(int16_t);
}

// All but the rule's address.
ChunkJob MakeChunkJob(const BatchChunk& chunk) {
  const TensorInfo& tensor = chunk.decoder->tensor();
  const TileRange tile = tensor.Tile(chunk.number);
  const TensorSlice& slice = chunk.slice;
  const uint64_t row_begin = std::max(tile.row_begin, slice.row_begin);
  const uint64_t row_end = std::max(row_begin, std::min(tile.row_end, slice.row_end));
  const uint64_t column_begin = std::max(tile.column_begin, slice.column_begin);
  const uint64_t column_end = std::max(column_begin, std::min(tile.column_end, slice.column_end));
  const size_t size = DTypeSize(tensor.dtype);
  ChunkJob job{};
  job.bytes = chunk.bytes.value;
  job.size_bytes = static_cast<uint32_t>(chunk.host_bytes.size());
  job.rows = static_cast<uint32_t>(tile.rows());
  job.columns = static_cast<uint32_t>(tile.columns());
  job.window = {static_cast<uint32_t>(row_begin - tile.row_begin),
                static_cast<uint32_t>(row_end - tile.row_begin),
                static_cast<uint32_t>(column_begin - tile.column_begin),
                static_cast<uint32_t>(column_end - tile.column_begin)};
  job.row_stride_bytes = slice.columns() * size;
  job.out = (chunk.out + ((row_begin - slice.row_begin) * job.row_stride_bytes +
                          (column_begin - slice.column_begin) * size))
                .value;
  return job;
}

void DecodeBatch::Add(const BatchChunk& chunk) {
  const TensorInfo& tensor = chunk.decoder->tensor();
  const ChunkJob job = MakeChunkJob(chunk);
  const auto rule_index = static_cast<uint32_t>(chunks_.size());
  chunks_.push_back({&tensor, chunk.number});
  switch (tensor.profile()) {
    case Profile::kRaw: {
      const size_t size = DTypeSize(tensor.dtype);
      const uint64_t source_stride = job.columns * size;
      raw_.push_back(
          {{job.out},
           chunk.bytes + (job.window.row_begin * source_stride + job.window.column_begin * size),
           job.row_stride_bytes,
           source_stride,
           (job.window.column_end - job.window.column_begin) * size,
           job.window.row_end - job.window.row_begin});
      return;
    }
    case Profile::kExact:
      exact_.push_back({rule_index, tensor.dtype, {job}});
      return;
    case Profile::kStream: {
      StreamEntry entry{};
      entry.rule_index = rule_index;
      entry.decoder = chunk.decoder;
      entry.job = chunk.decoder->MakeStreamJob(chunk.number, &entry.reach);
      static_cast<ChunkJob&>(entry.job) = job;
      // What is out of range is rejected by the kernel: it differs from the block's.
      entry.bucket_bits = std::clamp<int>(chunk.host_bytes.empty() ? 0 : chunk.host_bytes[0],
                                          kMinBucketBits, kMaxBucketBits);
      entry.tables = chunk.decoder->codec().stream->buckets(entry.bucket_bits);
      stream_.push_back(entry);
      return;
    }
    case Profile::kNwc: {
      NeuralJob neural = chunk.decoder->MakeNeuralJob(chunk.number);
      static_cast<ChunkJob&>(neural) = job;
      neural.latent_values = reinterpret_cast<int16_t*>(chunk.latents.value);
      neural_.push_back({rule_index, tensor.dtype, neural});
      return;
    }
  }
}

// But for the jobs. Where not all tables fit, the window lies about the middle.
StreamBlock DecodeBatch::MakeStreamBlock(std::span<const StreamEntry> entries) const {
  int low = kTableCount, high = 0, middles = 0;
  for (const StreamEntry& entry : entries) {
    low = std::min(low, entry.reach.span.low);
    high = std::max(high, entry.reach.span.high);
    middles += entry.reach.middle;
  }
  StreamBlock block{};
  block.job_count = static_cast<uint32_t>(entries.size());
  block.tables = entries.front().tables;
  block.bucket_bits = entries.front().bucket_bits;
  const auto fit = static_cast<int>(window_bytes_ / PairBytes(block.bucket_bits));
  block.window_count = std::min(high - low + 1, fit);
  block.window_low = std::clamp(middles / static_cast<int>(entries.size()) - fit / 2, low,
                                high - block.window_count + 1);
  return block;
}

// Blocks of chunks that use the same tables, those of a launch next to each other.
void DecodeBatch::DescribeStream(MutableByteSpan out, DeviceAddress device, size_t* at) {
  const auto dtype_of = [](const StreamEntry& entry) { return entry.decoder->tensor().dtype; };
  const auto order = [&](const StreamEntry& e) {
    return std::tuple(dtype_of(e), e.tables, e.reach.middle, e.rule_index);
  };
  std::sort(stream_.begin(), stream_.end(),
            [&](const auto& a, const auto& b) { return order(a) < order(b); });
  std::vector<StreamJob> jobs;
  jobs.reserve(stream_.size());
  for (StreamEntry& entry : stream_) {
    entry.job.rule = reinterpret_cast<uint32_t*>(device.value) + entry.rule_index;
    jobs.push_back(entry.job);
  }
  const StreamJob* const device_jobs = Place(jobs, out, device, at);
  const size_t warps =
      std::clamp<size_t>(DivideRoundingUp(stream_.size(), kSpreadBlocks), 1, kStreamWarps);
  std::vector<StreamBlock> blocks;
  std::vector<DType> dtypes;
  for (size_t first = 0, end; first < stream_.size(); first = end) {
    const auto same = [&](const StreamEntry& e) {
      return dtype_of(e) == dtype_of(stream_[first]) && e.tables == stream_[first].tables;
    };
    end = first + 1;
    while (end < stream_.size() && end - first < warps && same(stream_[end])) ++end;
    blocks.push_back(MakeStreamBlock(std::span(stream_).subspan(first, end - first)));
    blocks.back().jobs = device_jobs + first;
    dtypes.push_back(dtype_of(stream_[first]));
  }
  const StreamBlock* const device_blocks = Place(blocks, out, device, at);
  ForEachRun(
      blocks.size(), [&](size_t i) { return dtypes[i]; },
      [&](size_t first, size_t end) {
        DecodeLaunch launch{KernelId::kStream, dtypes[first], device_blocks + first,
                            static_cast<uint32_t>(end - first)};
        for (size_t i = first; i < end; ++i) {
          const StreamBlock& block = blocks[i];
          const auto bytes =
              static_cast<uint32_t>(block.window_count) * PairBytes(block.bucket_bits);
          launch.shared_bytes = std::max(launch.shared_bytes, bytes);
          launch.warps = std::max(launch.warps, block.job_count);
        }
        launches_.push_back(launch);
      });
}

// Sorts the jobs by dtype.
template <typename Job>
const Job* DecodeBatch::PlaceJobs(std::vector<Entry<Job>>* entries, MutableByteSpan out,
                                  DeviceAddress device, size_t* at) {
  std::stable_sort(entries->begin(), entries->end(),
                   [](const auto& a, const auto& b) { return a.dtype < b.dtype; });
  std::vector<Job> jobs;
  for (Entry<Job>& entry : *entries) {
    entry.job.rule = reinterpret_cast<uint32_t*>(device.value) + entry.rule_index;
    jobs.push_back(entry.job);
  }
  return Place(jobs, out, device, at);
}

void DecodeBatch::DescribeExact(MutableByteSpan out, DeviceAddress device, size_t* at) {
  const ExactJob* const jobs = PlaceJobs(&exact_, out, device, at);
  const auto key = [&](size_t i) { return exact_[i].dtype; };
  ForEachRun(exact_.size(), key, [&](size_t first, size_t end) {
    launches_.push_back(
        {KernelId::kExact, key(first), jobs + first, static_cast<uint32_t>(end - first)});
  });
}

void DecodeBatch::DescribeNeural(MutableByteSpan out, DeviceAddress device, size_t* at) {
  const NeuralJob* const jobs = PlaceJobs(&neural_, out, device, at);
  const auto on_tensor_cores = [&](size_t i) {
    return arithmetic_ == NeuralArithmetic::kTensorCores &&
           neural_[i].job.net.tensor_weights != nullptr;
  };
  const auto key = [&](size_t i) { return std::pair(neural_[i].dtype, on_tensor_cores(i)); };
  ForEachRun(neural_.size(), key, [&](size_t first, size_t end) {
    const auto [dtype, tensor_cores] = key(first);
    DecodeLaunch launch{KernelId::kNeuralLatents, dtype, jobs + first,
                        static_cast<uint32_t>(end - first)};
    launches_.push_back(launch);
    DecodeLaunch net = launch;
    net.kernel = tensor_cores ? KernelId::kNeuralTensor : KernelId::kNeuralNet;
    const uint32_t group = tensor_cores ? kTensorVectors : kNetVectors;
    for (size_t i = first; i < end; ++i) {
      const NeuralJob& job = neural_[i].job;
      const uint64_t vectors = DivideRoundingUp(job.rows, job.net.chunk) * job.columns;
      net.shared_bytes = std::max(net.shared_bytes, NetSharedBytes(NetFeatures(job.net)));
      net.largest_group_count = std::max(net.largest_group_count,
                                         static_cast<uint32_t>(DivideRoundingUp(vectors, group)));
    }
    launches_.push_back(net);
    launch.kernel = KernelId::kNeuralExact;
    launches_.push_back(launch);
  });
}

void DecodeBatch::Describe(MutableByteSpan out, DeviceAddress device) {
  launches_.clear();
  size_t at = rules_bytes();
  assert(at <= out.size());
  std::fill_n(out.begin(), at, uint8_t{0});  // raw chunks break none
  DescribeStream(out, device, &at);
  DescribeExact(out, device, &at);
  DescribeNeural(out, device, &at);
  description_bytes_ = at;
}

Status DecodeBatch::Launch(DeviceRuntime* runtime, DeviceStream stream) const {
  for (const RowCopy& copy : raw_) NWC_RETURN_IF_ERROR(runtime->CopyRows(copy, stream));
  for (const DecodeLaunch& launch : launches_) {
    NWC_RETURN_IF_ERROR(runtime->Launch(launch, stream));
  }
  return {};
}

Status DecodeBatch::Check(const uint8_t* rules) const {
  for (size_t i = 0; i < chunks_.size(); ++i) {
    const auto rule = LoadLittle<uint32_t>(rules + sizeof(uint32_t) * i);
    if (rule == 0) continue;
    return Status::Corrupt(static_cast<int>(rule),
                           "tensor '" + chunks_[i].tensor->name.substr(0, kMaxNameInMessage) +
                               "' chunk " + std::to_string(chunks_[i].number) + " at byte " +
                               std::to_string(chunks_[i].tensor->chunks[chunks_[i].number].offset) +
                               " is malformed: fetch the file again");
  }
  return {};
}

}  // namespace nwc
