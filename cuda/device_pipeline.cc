#include "cuda/device_pipeline.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <utility>

#include "loader/byte_source.h"
#include "loader/file_source.h"

namespace nwc {
namespace {

constexpr uint64_t kReadsInBudget = 8;
// A read is a launch: large enough for hundreds of warps, small enough to overlap.
constexpr uint64_t kMaxReadBytes = 8 << 20;
constexpr size_t kDescriptionAlignment = 16;
constexpr size_t kReadsOfLatents = 2;  // with latents on the device at once
constexpr size_t kMaxNameInMessage = 200;

// Its chunk list would be most of it.
TensorInfo WithoutChunks(const TensorInfo& info) {
  TensorInfo copy = info;
  copy.chunks = {};
  return copy;
}

}  // namespace

DevicePipeline::~DevicePipeline() {
  // If the ring of io_uring itself failed the kernel may still write there: losing the memory is
  // the lesser evil.
  if (queue_ != nullptr && !queue_->Drain()) new PinnedBuffer(std::move(pinned_));
  // Nothing here may go while the device uses it; a device that fails uses nothing any more.
  for (OwnedStream* stream : {&copy_stream_, &decode_streams_[0], &decode_streams_[1],
                              &decode_streams_[2], &decode_streams_[3]}) {
    if (stream->get() == nullptr) continue;
    auto event = OwnedEvent::Create(input_.runtime);
    if (event.ok() && input_.runtime->Record(event->get(), stream->get()).ok()) {
      (void)input_.runtime->Synchronize(event->get());
    }
  }
}

const TensorInfo& DevicePipeline::InfoOf(const FetchPiece& piece) const {
  return input_.loader->index().tensors[plan_.requests[piece.tensor].number];
}

std::string DevicePipeline::Where(const FetchPiece& piece) const {
  const TensorInfo& info = InfoOf(piece);
  const bool side = piece.chunk == FetchPiece::kSideInfo;
  const uint64_t offset = side ? info.side()->offset : info.chunks[piece.chunk].offset;
  return input_.loader->path() + ": tensor '" + info.name.substr(0, kMaxNameInMessage) + "' " +
         (side ? "side information" : "chunk " + std::to_string(piece.chunk)) + " at byte " +
         std::to_string(offset);
}

bool DevicePipeline::Cancelled() const {
  return input_.cancel != nullptr && input_.cancel->load(std::memory_order_relaxed);
}

Status DevicePipeline::CancelledError() const {
  return Status(ErrorCode::kCancelled, input_.loader->path() + ": loading was cancelled");
}

size_t DevicePipeline::RoomBytes(const FetchRead& read) const {
  return AlignUp(read.size_bytes, kDescriptionAlignment) +
         DecodeBatch::MaxDescriptionBytes(read.piece_end - read.piece_begin);
}

size_t DevicePipeline::LatentBytesOf(const FetchRead& read) const {
  size_t bytes = 0;
  for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
    const FetchPiece& piece = plan_.pieces[p];
    const TensorInfo& info = InfoOf(piece);
    if (piece.chunk == FetchPiece::kSideInfo || !info.neural) continue;
    const NeuralSettings& settings = input_.loader->index().neural_codecs[info.neural->codec];
    bytes += AlignUp(DecodeBatch::LatentBytes(info, settings, piece.chunk), kDescriptionAlignment);
  }
  return bytes;
}

Status DevicePipeline::Plan() {
  const ByteSource& source = input_.loader->source();
  const uint64_t budget = input_.options->staging_bytes;
  NWC_ASSIGN_OR_RETURN(plan_,
                       PlanFetch(input_.loader->index(), input_.requests,
                                 std::clamp<uint64_t>(budget / kReadsInBudget, 1, kMaxReadBytes),
                                 source.traits().gap_bytes));
  if (input_.io->from.direct >= 0) {
    AlignReads(kDirectBlock, source.size(), budget / 2, &plan_);
  }
  size_t largest_latents = 0, all_rooms = 0;
  for (const FetchRead& read : plan_.reads) {
    if (RoomBytes(read) > budget) {
      return Status(ErrorCode::kUsage,
                    Where(plan_.pieces[read.piece_begin]) + ": needs staging_bytes of at least " +
                        std::to_string(RoomBytes(read)) + ", has " + std::to_string(budget));
    }
    largest_latents = std::max(largest_latents, LatentBytesOf(read));
    all_rooms += AlignUp(RoomBytes(read), kPageBytes);
  }
  const size_t alignment = input_.io->from.direct >= 0 ? kDirectBlock : StagingRing::kAlignment;
  ring_ = std::make_unique<StagingRing>(std::min<size_t>(budget, all_rooms), alignment);
  latent_ring_ = std::make_unique<StagingRing>(kReadsOfLatents * largest_latents);
  return {};
}

Status DevicePipeline::Prepare() {
  reads_.resize(plan_.reads.size());
  tensors_.resize(plan_.requests.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    DeviceTensor& tensor = tensors_[i].tensor;
    tensor.number = plan_.requests[i].number;
    tensor.slice = plan_.requests[i].slice;
    tensor.info = WithoutChunks(input_.loader->index().tensors[tensor.number]);
  }
  for (const FetchPiece& piece : plan_.pieces) {
    if (piece.chunk != FetchPiece::kSideInfo) ++tensors_[piece.tensor].chunks_left;
  }
  if (plan_.reads.empty()) return {};
  DeviceRuntime* const runtime = input_.runtime;
  NWC_ASSIGN_OR_RETURN(pinned_, PinnedBuffer::Allocate(runtime, ring_->capacity_bytes()));
  NWC_ASSIGN_OR_RETURN(staged_, DeviceBuffer::Allocate(runtime, ring_->capacity_bytes()));
  NWC_ASSIGN_OR_RETURN(latents_, DeviceBuffer::Allocate(runtime, latent_ring_->capacity_bytes()));
  NWC_ASSIGN_OR_RETURN(copy_stream_, OwnedStream::Create(runtime));
  for (OwnedStream& stream : decode_streams_) {
    NWC_ASSIGN_OR_RETURN(stream, OwnedStream::Create(runtime));
  }
  const IoChoice* const choices[] = {input_.io};
  NWC_ASSIGN_OR_RETURN(
      queue_,
      ReadQueue::Create(choices, std::min(kReadsInFlight, plan_.reads.size()), pinned_.span()));
  statistics_.used_uring = queue_->uses_uring();
  return {};
}

Status DevicePipeline::Run(const std::function<Status(DeviceTensor)>& ready,
                           DeviceLoadStatistics* statistics) {
  NWC_RETURN_IF_ERROR(Plan());
  Status status = Prepare();
  if (status.ok()) status = Drive(ready);
  if (ring_ != nullptr) statistics_.peak_staging_bytes = ring_->peak_bytes();
  if (statistics != nullptr) *statistics = statistics_;
  return status;
}

Status DevicePipeline::Drive(const std::function<Status(DeviceTensor)>& ready) {
  while (true) {
    if (Cancelled()) return CancelledError();
    NWC_RETURN_IF_ERROR(HandOver(ready));
    if (handed_ == tensors_.size()) return {};
    NWC_RETURN_IF_ERROR(BeginReads());
    if (CanLaunch()) {
      NWC_RETURN_IF_ERROR(LaunchRead(next_launch_++));
      NWC_RETURN_IF_ERROR(Retire(false));
    } else if (next_launch_ < next_read_ && !reads_[next_launch_].arrived) {
      NWC_RETURN_IF_ERROR(WaitForRead());
      NWC_RETURN_IF_ERROR(Retire(false));
    } else {
      assert(!batches_.empty());  // or there would be room for a read
      NWC_RETURN_IF_ERROR(Retire(true));
    }
  }
}

// As many as have room.
Status DevicePipeline::BeginReads() {
  while (queue_->has_room() && next_read_ < reads_.size()) {
    const FetchRead& read = plan_.reads[next_read_];
    const auto room = ring_->Reserve(RoomBytes(read));
    if (!room) return {};
    reads_[next_read_].room = *room;
    reads_[next_read_].arrived = read.size_bytes == 0;
    statistics_.bytes_read += read.size_bytes;
    if (read.size_bytes > 0) {
      queue_->Submit({input_.io->from, read.offset,
                      pinned_.span().subspan(room->position, read.size_bytes), next_read_});
    }
    ++next_read_;
  }
  return {};
}

Status DevicePipeline::WaitForRead() {
  const ReadCompletion completion = queue_->Wait(input_.cancel);
  if (!completion.status.ok()) {
    if (completion.tag == ReadCompletion::kNoRequest) return completion.status;
    const FetchPiece& first = plan_.pieces[plan_.reads[completion.tag].piece_begin];
    return WhileReading(completion.status, "tensor '" + InfoOf(first).name + "' and what follows");
  }
  reads_[completion.tag].arrived = true;
  return {};
}

bool DevicePipeline::CanLaunch() const {
  if (next_launch_ == next_read_ || !reads_[next_launch_].arrived) return false;
  const size_t latents = LatentBytesOf(plan_.reads[next_launch_]);
  return latents == 0 || latent_ring_->HasRoom(latents);
}

Status DevicePipeline::LaunchRead(size_t read) {
  Batch& batch = batches_.emplace_back(input_.options->arithmetic);
  batch.read = read;
  NWC_ASSIGN_OR_RETURN(batch.copied, OwnedEvent::Create(input_.runtime));
  NWC_ASSIGN_OR_RETURN(batch.done, OwnedEvent::Create(input_.runtime));
  NWC_RETURN_IF_ERROR(AddPieces(&batch));
  const size_t position = reads_[read].room.position;
  const size_t description =
      position + AlignUp(plan_.reads[read].size_bytes, kDescriptionAlignment);
  batch.rules_at = description;
  batch.decode.Describe(pinned_.span().subspan(description, DecodeBatch::MaxDescriptionBytes(
                                                                batch.decode.chunk_count())),
                        staged_.address() + description);
  return CopyAndDecode(&batch, description - position + batch.decode.description_bytes());
}

Status DevicePipeline::AddPieces(Batch* batch) {
  const FetchRead& read = plan_.reads[batch->read];
  const size_t position = reads_[batch->read].room.position;
  size_t latents_at = 0;
  if (const size_t bytes = LatentBytesOf(read); bytes > 0) {
    batch->latents = *latent_ring_->Reserve(bytes);
    batch->has_latents = true;
    latents_at = batch->latents.position;
  }
  for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
    const FetchPiece& piece = plan_.pieces[p];
    const ByteSpan bytes = pinned_.span().subspan(position + piece.read_offset, piece.size_bytes);
    const Status status = piece.chunk == FetchPiece::kSideInfo
                              ? AcceptSideInfo(&tensors_[piece.tensor], bytes)
                              : AddChunk(piece, bytes, &latents_at, batch);
    if (!status.ok()) return status.WithContext(Where(piece));
  }
  return {};
}

Status DevicePipeline::AcceptSideInfo(TensorState* state, ByteSpan side) {
  const size_t number = state->tensor.number;
  NWC_ASSIGN_OR_RETURN(DeviceCodec codec, input_.codec(number, copy_stream_.get()));
  NWC_ASSIGN_OR_RETURN(state->decoder, DeviceTensorDecoder::Create(
                                           input_.runtime, input_.loader->index().tensors[number],
                                           side, std::move(codec), copy_stream_.get()));
  return {};
}

Status DevicePipeline::OpenTensor(TensorState* state) {
  state->open = true;
  DeviceTensor& tensor = state->tensor;
  const size_t size_bytes = tensor.slice.weights() * DTypeSize(tensor.info.dtype);
  if (size_bytes == 0) return {};
  if (input_.options->allocate) {
    NWC_ASSIGN_OR_RETURN(tensor.bytes,
                         input_.options->allocate(tensor.info, tensor.slice, size_bytes));
    OwnedEvent& event = caller_events_.emplace_back();
    NWC_ASSIGN_OR_RETURN(event, OwnedEvent::Create(input_.runtime));
    NWC_RETURN_IF_ERROR(input_.runtime->Record(event.get(), input_.options->stream));
    return input_.runtime->MakeWait(copy_stream_.get(), event.get());
  }
  NWC_ASSIGN_OR_RETURN(tensor.owned, DeviceBuffer::Allocate(input_.runtime, size_bytes));
  tensor.bytes = tensor.owned.address();
  return {};
}

Status DevicePipeline::AddChunk(const FetchPiece& piece, ByteSpan bytes, size_t* latents_at,
                                Batch* batch) {
  TensorState& state = tensors_[piece.tensor];
  const TensorInfo& info = InfoOf(piece);
  if (!state.open) NWC_RETURN_IF_ERROR(OpenTensor(&state));
  if (state.decoder == nullptr) {  // without side information
    NWC_ASSIGN_OR_RETURN(state.decoder, DeviceTensorDecoder::Create(input_.runtime, info, {}, {},
                                                                    copy_stream_.get()));
  }
  const uint64_t expected = info.chunks[piece.chunk].hash;
  if (input_.options->verify) {
    if (const uint64_t hash = Hash64(bytes); hash != expected) {
      return Status::Corrupt(20, "hash " + ToHex(hash) + ", expected " + ToHex(expected) +
                                     "; the file is damaged: fetch it again");
    }
  }
  if (bytes.size() > UINT32_MAX) {
    return Status(ErrorCode::kUnsupported,
                  "has " + std::to_string(bytes.size()) +
                      " bytes, expected less than 2^32 for decoding on a device; load it on the "
                      "CPU");
  }
  const auto offset = static_cast<size_t>(bytes.data() - pinned_.span().data());
  batch->decode.Add({state.decoder.get(), piece.chunk, bytes, staged_.address() + offset,
                     state.tensor.slice, state.tensor.bytes, latents_.address() + *latents_at});
  *latents_at +=
      AlignUp(DecodeBatch::LatentBytes(*state.decoder, piece.chunk), kDescriptionAlignment);
  return {};
}

Status DevicePipeline::CopyAndDecode(Batch* batch, size_t size_bytes) {
  DeviceRuntime* const runtime = input_.runtime;
  const size_t position = reads_[batch->read].room.position;
  const DeviceStream decode = decode_streams_[batch->read % kDecodeStreams].get();
  NWC_RETURN_IF_ERROR(runtime->CopyToDevice(staged_.address() + position,
                                            pinned_.span().data() + position, size_bytes,
                                            copy_stream_.get()));
  NWC_RETURN_IF_ERROR(runtime->Record(batch->copied.get(), copy_stream_.get()));
  NWC_RETURN_IF_ERROR(runtime->MakeWait(decode, batch->copied.get()));
  NWC_RETURN_IF_ERROR(batch->decode.Launch(runtime, decode));
  if (const size_t rules = batch->decode.rules_bytes(); rules > 0) {
    NWC_RETURN_IF_ERROR(runtime->CopyToHost(pinned_.span().data() + batch->rules_at,
                                            staged_.address() + batch->rules_at, rules, decode));
  }
  statistics_.bytes_copied += size_bytes;
  ++statistics_.batches;
  statistics_.peak_batches = std::max(statistics_.peak_batches, batches_.size());
  return runtime->Record(batch->done.get(), decode);
}

Status DevicePipeline::Retire(bool wait) {
  while (!batches_.empty()) {
    Batch& batch = batches_.front();
    if (wait) {
      NWC_RETURN_IF_ERROR(input_.runtime->Synchronize(batch.done.get()));
      wait = false;
    } else {
      NWC_ASSIGN_OR_RETURN(const bool done, input_.runtime->IsDone(batch.done.get()));
      if (!done) return {};
    }
    if (const Status status = batch.decode.Check(pinned_.span().data() + batch.rules_at);
        !status.ok()) {
      return status.WithContext(input_.loader->path());
    }
    const FetchRead& read = plan_.reads[batch.read];
    for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
      const FetchPiece& piece = plan_.pieces[p];
      if (piece.chunk != FetchPiece::kSideInfo) --tensors_[piece.tensor].chunks_left;
    }
    ring_->Release(reads_[batch.read].room.ticket);
    if (batch.has_latents) latent_ring_->Release(batch.latents.ticket);
    batches_.pop_front();
  }
  return {};
}

Status DevicePipeline::HandOver(const std::function<Status(DeviceTensor)>& ready) {
  for (; handed_ < tensors_.size() && tensors_[handed_].chunks_left == 0; ++handed_) {
    TensorState& state = tensors_[handed_];
    statistics_.bytes_decoded += state.tensor.slice.weights() * DTypeSize(state.tensor.info.dtype);
    NWC_RETURN_IF_ERROR(ready(std::move(state.tensor)));
  }
  return {};
}

}  // namespace nwc
