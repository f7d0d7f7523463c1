#include "cuda/decode_batch.h"

#include <algorithm>
#include <string>
#include <utility>

#include "cuda/neural_net.h"
#include "cuda/neural_tensor.h"

namespace nwc {
namespace {

constexpr size_t kAlignment = DecodeBatch::kDescriptionAlignment;
constexpr size_t kMaxNameInMessage = 200;

// Most a chunk takes of a description, its rule included.
constexpr size_t kChunkBytes = sizeof(uint32_t) + std::max({sizeof(StreamJob) + sizeof(StreamBlock),
                                                            sizeof(ExactJob), sizeof(NeuralJob)});
constexpr size_t kParts = 5;  // each begins aligned

uint32_t TableBytes(const StreamBlock& block) {
  return static_cast<uint32_t>(
      (sizeof(AliasBucket) * 2 * static_cast<size_t>(block.table_high - block.table_low + 1))
      << block.bucket_bits);
}

// Whether the blocks of two jobs of one tensor can be one.
bool Joins(const StreamBlock& block, const StreamBlock& next) {
  if (block.job_count == kStreamWarps || block.bucket_bits != next.bucket_bits) return false;
  StreamBlock joined = block;
  joined.table_low = std::min(block.table_low, next.table_low);
  joined.table_high = std::max(block.table_high, next.table_high);
  const uint32_t alone = std::max(TableBytes(block), TableBytes(next));
  return TableBytes(joined) <= std::max(alone, kMaxSharedTableBytes);
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
      entry.job = chunk.decoder->MakeStreamJob(chunk.number, &entry.block);
      static_cast<ChunkJob&>(entry.job) = job;
      // What is out of range is rejected by the kernel: it differs from the block's.
      entry.block.bucket_bits = std::clamp<int>(chunk.host_bytes.empty() ? 0 : chunk.host_bytes[0],
                                                kMinBucketBits, kMaxBucketBits);
      entry.block.tables = chunk.decoder->codec().stream->buckets(entry.block.bucket_bits);
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

void DecodeBatch::DescribeStream(MutableByteSpan out, DeviceAddress device, size_t* at) {
  // Blocks as runs of neighbouring chunks of one tensor, those of a launch next to each other.
  std::vector<StreamJob> jobs;
  std::vector<StreamBlock> blocks;
  std::vector<std::pair<DType, bool>> keys;  // dtype, whether the tables fit in shared memory
  std::vector<size_t> first_job;
  const DeviceTensorDecoder* last = nullptr;
  for (StreamEntry& entry : stream_) {
    entry.job.rule = reinterpret_cast<uint32_t*>(device.value) + entry.rule_index;
    jobs.push_back(entry.job);
    if (last != entry.decoder || !Joins(blocks.back(), entry.block)) {
      blocks.push_back(entry.block);
      first_job.push_back(jobs.size() - 1);
      keys.emplace_back(entry.decoder->tensor().dtype, false);
    }
    last = entry.decoder;
    StreamBlock& block = blocks.back();
    block.table_low = std::min(block.table_low, entry.block.table_low);
    block.table_high = std::max(block.table_high, entry.block.table_high);
    ++block.job_count;
    keys.back().second = TableBytes(block) <= kMaxSharedTableBytes;
  }
  const StreamJob* const device_jobs = Place(jobs, out, device, at);
  std::vector<size_t> order(blocks.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    blocks[i].jobs = device_jobs + first_job[i];
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return keys[a] < keys[b]; });
  std::vector<StreamBlock> sorted;
  for (const size_t i : order) sorted.push_back(blocks[i]);
  const StreamBlock* const device_blocks = Place(sorted, out, device, at);
  const auto key = [&](size_t i) { return keys[order[i]]; };
  ForEachRun(order.size(), key, [&](size_t first, size_t end) {
    DecodeLaunch launch{KernelId::kStream, key(first).first, device_blocks + first,
                        static_cast<uint32_t>(end - first)};
    for (size_t i = first; key(first).second && i < end; ++i) {
      launch.shared_bytes = std::max(launch.shared_bytes, TableBytes(sorted[i]));
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
