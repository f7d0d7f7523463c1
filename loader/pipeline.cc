#include "loader/pipeline.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "loader/file_source.h"
#include "loader/without_exceptions.h"

namespace nwc {
namespace {

constexpr size_t kMaxNameInMessage = 200;
constexpr size_t kOpenTensors = 3;      // the one being handed over and two behind it
constexpr uint64_t kReadsInBudget = 4;  // a small budget still holds a few reads
constexpr std::chrono::milliseconds kCancelPoll(5);

uint64_t ReadLimit(const PipelineInput& input) {
  return std::clamp<uint64_t>(input.options->staging_bytes / kReadsInBudget, 1,
                              input.source->traits().joined_bytes);
}

// More than `useful` only costs cache and page faults: reads are never that far ahead.
uint64_t StagingBytes(const FetchPlan& plan, const PipelineInput& input) {
  const LoadOptions& options = *input.options;
  const uint64_t useful = std::max(2 * kReadsInFlight * input.source->traits().joined_bytes,
                                   kReadsInBudget * plan.largest_read_bytes);
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
                "tensor '" + input.index->tensors[plan.requests[piece.tensor].number].name + "' " +
                    what + " has " + std::to_string(piece.size_bytes) +
                    " bytes, staging_bytes allows " + std::to_string(input.options->staging_bytes) +
                    ": allow at least " + std::to_string(plan.largest_read_bytes));
}

size_t DecodeThreads(const LoadOptions& options, const FetchPlan& plan) {
  const size_t wanted = options.threads > 0
                            ? static_cast<size_t>(options.threads)
                            : std::max<size_t>(1, std::thread::hardware_concurrency());
  return std::min(wanted, plan.pieces.size());
}

bool Cancelled(const PipelineInput& input) {
  return input.cancel != nullptr && input.cancel->load(std::memory_order_relaxed);
}

Status CancelledError(const PipelineInput& input) {
  return Status(ErrorCode::kCancelled, input.source->name() + ": loading was cancelled");
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
  auto plan =
      PlanFetch(*input.index, input.requests, ReadLimit(input), input.source->traits().gap_bytes);
  if (!plan.ok()) return plan.status().WithContext(file);
  if (const Status status = CheckBudget(*plan, input); !status.ok()) {
    return status.WithContext(file);
  }
  if (Cancelled(input)) return CancelledError(input);
  NWC_ASSIGN_OR_RETURN(const std::vector<ChunkCodec> codecs, input.codecs());
  return Pipeline(input, std::move(*plan), codecs).Run(ready, statistics);
}

Pipeline::Pipeline(const PipelineInput& input, FetchPlan plan,
                   const std::vector<ChunkCodec>& codecs)
    : input_(input),
      plan_(std::move(plan)),
      settings_{input.source->name(), input.options->verify, input.options->verify_decoded,
                input.options->simd},
      staging_(StagingBytes(plan_, input)),
      reads_(plan_.reads.size()) {
  tensors_.reserve(plan_.requests.size());
  for (size_t i = 0; i < plan_.requests.size(); ++i) {
    const TensorRequest& request = plan_.requests[i];
    const TensorInfo& info = input.index->tensors[request.number];
    TensorState& tensor = tensors_.emplace_back(info, request.slice, settings_, codecs[i]);
    tensor.decodable = info.side() == nullptr;
  }
  for (const FetchPiece& piece : plan_.pieces) {
    if (piece.chunk != FetchPiece::kSideInfo) ++tensors_[piece.tensor].chunks_left;
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
      End(OutOfMemory(settings_.file_name));
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
  if (queue_ != nullptr) queue_->Interrupt();
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
    if (!BeginReads()) return;
    if (queue_->in_flight() == 0) {
      if (!WaitForRoom()) return;
      continue;
    }
    const ReadCompletion completion = queue_->Wait();
    if (!completion.status.ok()) {
      if (completion.tag == ReadCompletion::kNoRequest) return End(completion.status);
      return End(WhileReading(completion.status, TensorsOf(plan_.reads[completion.tag])));
    }
    Arrive(completion.tag);
  }
}

// As many as have room. False when all has stopped; reads in flight are left to the destructor.
bool Pipeline::BeginReads() {
  while (true) {
    std::unique_lock lock(mutex_);
    if (stopped_) return false;
    if (!queue_->has_room() || next_read_ == reads_.size()) return true;
    const FetchRead& read = plan_.reads[next_read_];
    const auto room = staging_.Reserve(read.size_bytes);
    if (!room) return true;
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

// For messages.
std::string Pipeline::TensorsOf(const FetchRead& read) const {
  const auto name = [this](size_t piece) {
    const size_t request = plan_.pieces[piece].tensor;
    const std::string& tensor = input_.index->tensors[plan_.requests[request].number].name;
    return "'" + tensor.substr(0, kMaxNameInMessage) + "'";
  };
  const std::string first = name(read.piece_begin), last = name(read.piece_end - 1);
  return first == last ? "tensor " + first : "tensors " + first + " to " + last;
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
  AlignedBuffer scratch;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [this] { return stopped_ || !runnable_.empty(); });
    if (stopped_) return;
    const Arrival arrival = runnable_.front();
    runnable_.pop_front();
    TensorState& tensor = tensors_[plan_.pieces[arrival.piece].tensor];
    lock.unlock();
    Status status = Process(arrival, &scratch);
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

Status Pipeline::Process(const Arrival& arrival, AlignedBuffer* scratch) {
  const FetchPiece& piece = plan_.pieces[arrival.piece];
  TensorAssembly& assembly = tensors_[piece.tensor].assembly;
  const ByteSpan bytes = StagedBytes(arrival.read, piece.read_offset, piece.size_bytes);
  if (piece.chunk == FetchPiece::kSideInfo) return assembly.AcceptSideInfo(bytes);
  return assembly.DecodeChunk(piece.chunk, bytes, scratch);
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
    const bool empty = tensor.assembly.slice().weights() == 0;
    if (empty) NWC_RETURN_IF_ERROR(tensor.assembly.CheckWhole());
    const std::lock_guard lock(mutex_);
    tensor.open = true;
    tensor.whole = empty;
    Unpark(&tensor);
  }
  return {};
}

Status Pipeline::WaitUntilWhole(size_t tensor) {
  std::unique_lock lock(mutex_);
  const auto done = [&] { return stopped_ || tensors_[tensor].whole; };
  if (input_.cancel == nullptr) whole_.wait(lock, done);
  do {
    if (Cancelled(input_)) return CancelledError(input_);
  } while (!whole_.wait_for(lock, kCancelPoll, done));
  return stopped_ ? status_ : Status();
}

Status Pipeline::HandOver(const std::function<Status(Tensor)>& ready) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    NWC_RETURN_IF_ERROR(OpenTensors(std::min(i + kOpenTensors, tensors_.size())));
    NWC_RETURN_IF_ERROR(WaitUntilWhole(i));
    Tensor tensor;
    {
      const std::lock_guard lock(mutex_);
      tensor.bytes = tensors_[i].assembly.TakeBytes();
      statistics_.bytes_decoded += tensor.bytes.size();
    }
    tensor.info = WithoutChunks(tensors_[i].assembly.info());
    tensor.number = plan_.requests[i].number;
    tensor.slice = plan_.requests[i].slice;
    NWC_RETURN_IF_ERROR(ready(std::move(tensor)));
  }
  return {};
}

}  // namespace nwc
