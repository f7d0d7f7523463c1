#include "loader/pipeline.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

namespace nwc {
namespace {

constexpr size_t kOpenTensors = 3;  // the one being handed over and two behind it
constexpr uint64_t kReadLimitBytes = 1 << 20;
constexpr uint64_t kReadsInBudget = 4;  // a small budget still holds a few reads
// More staging than this only costs cache and page faults: reads are never that far ahead.
constexpr uint64_t kUsefulStagingBytes = 2 * kReadsInFlight * kReadLimitBytes;

uint64_t ReadLimit(const LoadOptions& options) {
  return std::clamp<uint64_t>(options.staging_bytes / kReadsInBudget, 1, kReadLimitBytes);
}

uint64_t StagingBytes(const FetchPlan& plan, const LoadOptions& options) {
  const uint64_t useful = std::max(kUsefulStagingBytes, kReadsInBudget * plan.largest_read_bytes);
  const uint64_t all = plan.total_bytes + plan.reads.size() * StagingRing::kAlignment;
  return std::min({useful, all, uint64_t{options.staging_bytes}});
}

// A read beyond the budget is one extent: the limit that joins extents is below the budget.
Status CheckBudget(const FetchPlan& plan, const PipelineInput& input) {
  if (plan.largest_read_bytes <= input.options->staging_bytes) return {};
  const FetchPiece& piece = plan.pieces[plan.reads[plan.largest_read].piece_begin];
  const std::string what = piece.chunk == FetchPiece::kSideInfo
                               ? "side information"
                               : "chunk " + std::to_string(piece.chunk);
  return Status(ErrorCode::kUsage,
                "tensor '" + input.index->tensors[input.numbers[piece.tensor]].name + "' " + what +
                    " has " + std::to_string(piece.size_bytes) + " bytes, staging_bytes allows " +
                    std::to_string(input.options->staging_bytes) + ": allow at least " +
                    std::to_string(plan.largest_read_bytes));
}

size_t DecodeThreads(const LoadOptions& options, const FetchPlan& plan) {
  const size_t wanted = options.threads > 0
                            ? static_cast<size_t>(options.threads)
                            : std::max<size_t>(1, std::thread::hardware_concurrency());
  return std::min(wanted, plan.pieces.size());
}

// Its chunk list would be most of it.
TensorInfo WithoutChunks(const TensorInfo& info) {
  TensorInfo copy = info;
  copy.chunks = {};
  return copy;
}

}  // namespace

Status RunPipeline(const PipelineInput& input, const std::function<Status(Tensor)>& ready,
                   LoadStatistics* statistics) {
  if (statistics != nullptr) *statistics = {};
  const std::string& file = input.source->name();
  auto plan = PlanFetch(*input.index, input.numbers, ReadLimit(*input.options));
  if (!plan.ok()) return plan.status().WithContext(file);
  if (const Status status = CheckBudget(*plan, input); !status.ok()) {
    return status.WithContext(file);
  }
  NWC_ASSIGN_OR_RETURN(const std::vector<ChunkCodec> codecs, input.codecs());
  return Pipeline(input, std::move(*plan), codecs).Run(ready, statistics);
}

Pipeline::Pipeline(const PipelineInput& input, FetchPlan plan,
                   const std::vector<ChunkCodec>& codecs)
    : input_(input),
      plan_(std::move(plan)),
      settings_{input.source->name(), input.options->verify, input.options->verify_decoded,
                input.options->simd},
      staging_(StagingBytes(plan_, *input.options)),
      reads_(plan_.reads.size()) {
  tensors_.reserve(input.numbers.size());
  for (size_t i = 0; i < input.numbers.size(); ++i) {
    const TensorInfo& info = input.index->tensors[input.numbers[i]];
    TensorState& tensor = tensors_.emplace_back(info, settings_, codecs[i]);
    tensor.chunks_left = info.chunks.size();
    tensor.decodable = info.side() == nullptr;
  }
}

Pipeline::~Pipeline() {
  Stop();
  // If the ring itself failed the kernel may still write there: losing the memory is the lesser
  // evil.
  if (queue_ != nullptr && !queue_->Drain()) new AlignedBuffer(std::move(block_));
}

Status Pipeline::Run(const std::function<Status(Tensor)>& ready, LoadStatistics* statistics) {
  const auto begin = std::chrono::steady_clock::now();
  Status status = Start();
  if (status.ok()) status = HandOver(ready);
  Stop();
  if (statistics != nullptr) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    statistics_.seconds = seconds.count();
    statistics_.peak_staging_bytes = staging_.peak_bytes();
    *statistics = statistics_;
  }
  return status;
}

Status Pipeline::Start() {
  if (plan_.reads.empty()) return {};
  auto block = AlignedBuffer::Allocate(staging_.capacity_bytes(), kPageBytes);
  if (!block.ok()) return block.status().WithContext(settings_.file_name + ": staging memory");
  block_ = std::move(*block);
  const size_t depth = std::min(kReadsInFlight, plan_.reads.size());
  NWC_ASSIGN_OR_RETURN(queue_,
                       ReadQueue::Create(*input_.source, *input_.io, depth, block_.mutable_span()));
  statistics_.used_uring = queue_->uses_uring();
  const auto guarded = [this](void (Pipeline::*loop)()) {
    try {
      (this->*loop)();
    } catch (const std::bad_alloc&) {
      End(Status(ErrorCode::kOutOfMemory, settings_.file_name + ": no memory while loading"));
    }
  };
  const size_t decode_threads = DecodeThreads(*input_.options, plan_);
  threads_.reserve(decode_threads + 1);
  threads_.emplace_back(guarded, &Pipeline::ReadLoop);
  for (size_t i = 0; i < decode_threads; ++i) threads_.emplace_back(guarded, &Pipeline::DecodeLoop);
  return {};
}

void Pipeline::Stop() {
  End({});
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

void Pipeline::End(Status status) {
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) status_ = std::move(status);
    stopped_ = true;
  }
  room_.notify_all();
  work_.notify_all();
  whole_.notify_all();
}

void Pipeline::ReadLoop() {
  while (true) {
    BeginReads();
    if (queue_->in_flight() == 0) {
      if (!WaitForRoom()) return;
      continue;
    }
    const ReadCompletion completion = queue_->Wait();
    if (!completion.status.ok()) return End(completion.status);
    Arrive(completion.tag);
  }
}

// As many as have room.
void Pipeline::BeginReads() {
  while (queue_->has_room()) {
    std::unique_lock lock(mutex_);
    if (stopped_ || next_read_ == reads_.size()) return;
    const FetchRead& read = plan_.reads[next_read_];
    const auto room = staging_.Reserve(read.size_bytes);
    if (!room) return;
    const size_t number = next_read_++;
    reads_[number] = {*room, read.piece_end - read.piece_begin};
    ++statistics_.reads;
    statistics_.bytes_read += read.size_bytes;
    lock.unlock();
    if (read.size_bytes == 0) {
      Arrive(number);
    } else {
      queue_->Submit({read.offset, StagedBytes(number, 0, read.size_bytes), number});
    }
  }
}

// False when nothing is left to read.
bool Pipeline::WaitForRoom() {
  std::unique_lock lock(mutex_);
  const auto finished = [this] { return stopped_ || next_read_ == reads_.size(); };
  room_.wait(lock,
             [&] { return finished() || staging_.HasRoom(plan_.reads[next_read_].size_bytes); });
  return !finished();
}

void Pipeline::Arrive(size_t read) {
  const std::lock_guard lock(mutex_);
  for (size_t p = plan_.reads[read].piece_begin; p < plan_.reads[read].piece_end; ++p) {
    Offer({p, read});
  }
}

MutableByteSpan Pipeline::StagedBytes(size_t read, uint64_t offset, uint64_t size_bytes) {
  return block_.mutable_span().subspan(reads_[read].room.position + offset, size_bytes);
}

void Pipeline::Offer(const Arrival& arrival) {
  const FetchPiece& piece = plan_.pieces[arrival.piece];
  TensorState& tensor = tensors_[piece.tensor];
  if (tensor.open && (tensor.decodable || piece.chunk == FetchPiece::kSideInfo)) {
    runnable_.push_back(arrival);
    work_.notify_one();
  } else {
    tensor.parked.push_back(arrival);
  }
}

void Pipeline::Unpark(TensorState* tensor) {
  const std::vector<Arrival> parked = std::exchange(tensor->parked, {});
  for (const Arrival& arrival : parked) Offer(arrival);
}

void Pipeline::DecodeLoop() {
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stopped_ || !runnable_.empty(); });
    if (stopped_) return;
    const Arrival arrival = runnable_.front();
    runnable_.pop_front();
    TensorState& tensor = tensors_[plan_.pieces[arrival.piece].tensor];
    lock.unlock();
    Status status = Process(arrival);
    lock.lock();
    if (status.ok() && Finish(arrival)) {
      lock.unlock();
      status = tensor.assembly.CheckWhole();
      lock.lock();
      tensor.whole = status.ok();
      whole_.notify_one();
    }
    if (!status.ok()) {
      lock.unlock();
      return End(std::move(status));
    }
  }
}

Status Pipeline::Process(const Arrival& arrival) {
  const FetchPiece& piece = plan_.pieces[arrival.piece];
  TensorAssembly& assembly = tensors_[piece.tensor].assembly;
  const ByteSpan bytes = StagedBytes(arrival.read, piece.read_offset, piece.size_bytes);
  if (piece.chunk == FetchPiece::kSideInfo) return assembly.AcceptSideInfo(bytes);
  return assembly.DecodeChunk(piece.chunk, bytes);
}

// True when it was the tensor's last chunk.
bool Pipeline::Finish(const Arrival& arrival) {
  const FetchPiece& piece = plan_.pieces[arrival.piece];
  TensorState& tensor = tensors_[piece.tensor];
  ReadState& read = reads_[arrival.read];
  if (--read.pieces_left == 0) {
    staging_.Release(read.room.ticket);
    room_.notify_one();
  }
  if (piece.chunk != FetchPiece::kSideInfo) return --tensor.chunks_left == 0;
  tensor.decodable = true;
  Unpark(&tensor);
  return false;
}

Status Pipeline::OpenTensors(size_t end) {
  for (; opened_ < end; ++opened_) {
    TensorState& tensor = tensors_[opened_];
    NWC_RETURN_IF_ERROR(tensor.assembly.Prepare());
    const bool empty = tensor.assembly.info().chunks.empty();
    if (empty) NWC_RETURN_IF_ERROR(tensor.assembly.CheckWhole());
    const std::lock_guard lock(mutex_);
    tensor.open = true;
    tensor.whole = empty;
    Unpark(&tensor);
  }
  return {};
}

Status Pipeline::HandOver(const std::function<Status(Tensor)>& ready) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    NWC_RETURN_IF_ERROR(OpenTensors(std::min(i + kOpenTensors, tensors_.size())));
    Tensor tensor;
    {
      std::unique_lock lock(mutex_);
      whole_.wait(lock, [&] { return stopped_ || tensors_[i].whole; });
      if (stopped_) return status_;
      tensor.bytes = tensors_[i].assembly.TakeBytes();
      statistics_.bytes_decoded += tensor.bytes.size();
    }
    tensor.info = WithoutChunks(tensors_[i].assembly.info());
    tensor.number = input_.numbers[i];
    NWC_RETURN_IF_ERROR(ready(std::move(tensor)));
  }
  return {};
}

}  // namespace nwc
