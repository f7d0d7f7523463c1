#include "loader/pipeline.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "loader/file_source.h"
#include "loader/without_exceptions.h"

namespace nwc {
namespace {

constexpr size_t kMaxNameInMessage = 200;
constexpr size_t kOpenTensors = 3;      // the one being handed over and two behind it
constexpr uint64_t kReadsInBudget = 4;  // a small budget still holds a few reads
constexpr std::chrono::milliseconds kCancelPoll(5);

// One budget for all parts.
uint64_t Budget(const PipelineInput& input) {
  uint64_t budget = input.parts.front().options->staging_bytes;
  for (const PipelinePart& part : input.parts) {
    budget = std::min<uint64_t>(budget, part.options->staging_bytes);
  }
  return budget;
}

bool ReadsDirectly(const PipelineInput& input) {
  return std::any_of(input.parts.begin(), input.parts.end(),
                     [](const PipelinePart& part) { return part.io->from.direct >= 0; });
}

size_t RoomAlignment(const PipelineInput& input) {
  return ReadsDirectly(input) ? kDirectBlock : StagingRing::kAlignment;
}

// More than `useful` only costs cache and page faults: reads are never that far ahead.
uint64_t StagingBytes(const FetchPlan& plan, const PipelineInput& input) {
  uint64_t joined = 0;
  for (const PipelinePart& part : input.parts) {
    joined = std::max(joined, part.source().traits().joined_bytes);
  }
  const uint64_t useful =
      std::max(2 * kReadsInFlight * joined, kReadsInBudget * plan.largest_read_bytes);
  const uint64_t all = plan.total_bytes + plan.reads.size() * RoomAlignment(input);
  return std::min({useful, all, Budget(input)});
}

// A read beyond the budget is one extent: the limit that joins extents is below the budget.
Status CheckBudget(const FetchPlan& plan, const PipelinePart& part, uint64_t budget) {
  if (plan.largest_read_bytes <= budget) return {};
  const FetchPiece& piece = plan.pieces[plan.reads[plan.largest_read].piece_begin];
  const std::string what = piece.chunk == FetchPiece::kSideInfo
                               ? "side information"
                               : "chunk " + std::to_string(piece.chunk);
  return Status(ErrorCode::kUsage,
                "tensor '" + part.index->tensors[plan.requests[piece.tensor].number].name + "' " +
                    what + " has " + std::to_string(piece.size_bytes) +
                    " bytes, staging_bytes allows " + std::to_string(budget) + ": allow at least " +
                    std::to_string(plan.largest_read_bytes));
}

Result<FetchPlan> PlanPart(const PipelinePart& part, uint64_t budget) {
  const ReadTraits traits = part.source().traits();
  const uint64_t read_limit = std::clamp<uint64_t>(budget / kReadsInBudget, 1, traits.joined_bytes);
  NWC_ASSIGN_OR_RETURN(FetchPlan plan,
                       PlanFetch(*part.index, part.requests, read_limit, traits.gap_bytes));
  NWC_RETURN_IF_ERROR(CheckBudget(plan, part, budget));
  if (part.io->from.direct >= 0) {
    AlignReads(kDirectBlock, part.source().size(), budget, &plan);
  }
  return plan;
}

Result<FetchPlan> PlanAll(const PipelineInput& input) {
  const uint64_t budget = Budget(input);
  FetchPlan plan;
  for (size_t p = 0; p < input.parts.size(); ++p) {
    const auto next = PlanPart(input.parts[p], budget);
    if (!next.ok()) return next.status().WithContext(input.parts[p].source().name());
    AppendPlan(*next, p, &plan);
  }
  return plan;
}

Result<std::vector<ChunkCodec>> AllCodecs(const PipelineInput& input) {
  std::vector<ChunkCodec> all;
  for (const PipelinePart& part : input.parts) {
    NWC_ASSIGN_OR_RETURN(auto codecs, part.codecs(part.requests, input.cancel));
    std::move(codecs.begin(), codecs.end(), std::back_inserter(all));
  }
  return all;
}

size_t DecodeThreads(const PipelineInput& input, const FetchPlan& plan) {
  int threads = 1;
  for (const PipelinePart& part : input.parts) threads = std::max(threads, part.options->threads);
  return std::min(static_cast<size_t>(threads), plan.pieces.size());
}

bool Cancelled(const PipelineInput& input) {
  return input.cancel != nullptr && input.cancel->load(std::memory_order_relaxed);
}

Status CancelledError(const PipelineInput& input) {
  return Status(ErrorCode::kCancelled, input.name + ": loading was cancelled");
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
  NWC_ASSIGN_OR_RETURN(FetchPlan plan, PlanAll(input));
  if (Cancelled(input)) return CancelledError(input);
  const auto codecs = AllCodecs(input);
  if (!codecs.ok() && Cancelled(input)) return CancelledError(input);
  NWC_RETURN_IF_ERROR(codecs.status());
  return Pipeline(input, std::move(plan), *codecs).Run(ready, statistics);
}

Pipeline::Pipeline(const PipelineInput& input, FetchPlan plan,
                   const std::vector<ChunkCodec>& codecs)
    : input_(input),
      plan_(std::move(plan)),
      staging_(StagingBytes(plan_, input), RoomAlignment(input)),
      reads_(plan_.reads.size()) {
  settings_.reserve(input.parts.size());  // tensors refer to them
  tensors_.reserve(plan_.requests.size());
  for (const PipelinePart& part : input.parts) {
    const LoadOptions& options = *part.options;
    settings_.push_back(
        {part.source().name(), options.verify, options.verify_decoded, options.simd});
    for (size_t i = 0; i < part.requests.size(); ++i) {
      const TensorRequest& request = plan_.requests[tensors_.size()];
      const TensorInfo& info = part.index->tensors[request.number];
      TensorState& tensor =
          tensors_.emplace_back(info, request.slice, settings_.back(), codecs[tensors_.size()]);
      tensor.number = part.first_number + request.number;
      tensor.decodable = info.side() == nullptr;
    }
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
  Start();
  const Status status = HandOver(ready);
  Stop();
  if (statistics != nullptr) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    statistics_.seconds = seconds.count();
    statistics_.peak_staging_bytes = staging_.peak_bytes();
    *statistics = statistics_;
  }
  return status;
}

void Pipeline::Start() {
  if (plan_.reads.empty()) return;
  const auto guarded = [this](void (Pipeline::*loop)()) {
    Status status = WithoutExceptions(input_.name, [&]() -> Status {
      (this->*loop)();
      return {};
    });
    if (!status.ok()) End(std::move(status));
  };
  const size_t decode_threads = DecodeThreads(input_, plan_);
  threads_.reserve(decode_threads + 1);
  threads_.emplace_back(guarded, &Pipeline::ReadLoop);
  for (size_t i = 0; i < decode_threads; ++i) threads_.emplace_back(guarded, &Pipeline::DecodeLoop);
}

void Pipeline::Stop() {
  End({});
  {
    const std::lock_guard lock(mutex_);
    if (queue_ != nullptr) queue_->Interrupt();
  }
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

Status Pipeline::MakeQueue() {
  auto block = AlignedBuffer::Allocate(staging_.capacity_bytes(), kPageBytes);
  if (!block.ok()) return block.status().WithContext(input_.name + ": staging memory");
  block_ = std::move(*block);
  std::vector<const IoChoice*> choices;
  for (const PipelinePart& part : input_.parts) choices.push_back(part.io);
  const size_t depth = std::min(kReadsInFlight, plan_.reads.size());
  NWC_ASSIGN_OR_RETURN(auto queue, ReadQueue::Create(choices, depth, block_.mutable_span()));
  const std::lock_guard lock(mutex_);
  queue_ = std::move(queue);
  statistics_.used_uring = queue_->uses_uring();
  return {};
}

void Pipeline::ReadLoop() {
  if (Status status = MakeQueue(); !status.ok()) return End(std::move(status));
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
      queue_->Submit({input_.parts[read.part].io->from, read.offset,
                      StagedBytes(number, 0, read.size_bytes), number});
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
    const std::string& tensor = tensors_[request].assembly.info().name;
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
    tensor.number = tensors_[i].number;
    tensor.slice = plan_.requests[i].slice;
    NWC_RETURN_IF_ERROR(ready(std::move(tensor)));
  }
  return {};
}

}  // namespace nwc
