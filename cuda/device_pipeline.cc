#include "cuda/device_pipeline.h"

#include <algorithm>
#include <cassert>
#include <string>
#include <thread>
#include <utility>

#include "loader/byte_source.h"
#include "loader/file_source.h"
#include "loader/without_exceptions.h"

namespace nwc {
namespace {

// Its chunk list would be most of it.
TensorInfo WithoutChunks(const TensorInfo& info) {
  TensorInfo copy = info;
  copy.chunks = {};
  return copy;
}

constexpr uint64_t kFactAlignment = 16;

// Threads that copy a file out of the page cache and check it: a core does 3 GB/s of that, a bus
// 50. One core in eight is left to the thread that drives, and to others.
size_t CopyingThreads() { return std::clamp(std::thread::hardware_concurrency() * 7 / 8, 1u, 14u); }

bool Touches(const TensorSlice& slice, const TileRange& tile) {
  return slice.row_begin < tile.row_end && tile.row_begin < slice.row_end &&
         slice.column_begin < tile.column_end && tile.column_begin < slice.column_end;
}

}  // namespace

Status RunDevicePipeline(const DevicePipelineInput& input,
                         const std::function<Status(DeviceTensor)>& ready,
                         DeviceLoadStatistics* statistics) {
  if (statistics != nullptr) *statistics = {};
  const std::string& name = input.model->path();
  Status status;
  Broadcaster* const ranks = input.options->ranks;
  return WithoutExceptions(name, [&] {
    DevicePipeline pipeline(input);
    status = WithoutExceptions(name, [&] { return pipeline.Run(ready, statistics); });
    if (ranks == nullptr) return status;
    // Only what every rank has is a success. After a failure nothing may keep the device waiting
    // when the pipeline goes.
    status = ranks->Agree(status);
    if (!status.ok()) ranks->Abort();
    return status;
  });
}

DevicePipeline::~DevicePipeline() {
  // If the ring of io_uring itself failed the kernel may still write there: losing the memory is
  // the lesser evil.
  if (queue_ != nullptr && !queue_->Drain()) new PinnedBuffer(std::move(*input_.pinned));
  // Nothing here may go while the device uses it.
  WaitForStream(input_.runtime, copy_stream_);
  for (const OwnedStream& stream : decode_streams_) WaitForStream(input_.runtime, stream);
}

std::string DevicePipeline::Where(const FetchPiece& piece) const {
  const TensorState& state = tensors_[piece.tensor];
  return DescribePiece(*state.shard, *state.info, piece);
}

bool DevicePipeline::Cancelled() const {
  return input_.cancel != nullptr && input_.cancel->load(std::memory_order_relaxed);
}

Status DevicePipeline::CancelledError() const {
  return Status(ErrorCode::kCancelled, input_.model->path() + ": loading was cancelled");
}

Status DevicePipeline::MakeParts() {
  const ModelLoader& model = *input_.model;
  NWC_RETURN_IF_ERROR(model.CheckRequests(input_.requests));
  tensors_.reserve(input_.requests.size());
  for (const TensorRequest& request : input_.requests) {
    const ShardPlace& place = model.place(request.number);
    const Loader& shard = model.shard(place.shard);
    if (parts_.empty() || parts_.back().loader != &shard) {
      const IoChoice& io = shard.io();
      io_.push_back(&io);
      parts_.push_back({&shard, {}, io.from.source->traits().gap_bytes, io.from.direct >= 0});
    }
    const TensorInfo& info = shard.index().tensors[place.number];
    if (info.neural) {
      const NeuralCodecInfo& codec = shard.index().neural_codecs[info.neural->codec];
      const Status fits = DeviceNeuralCodec::CheckFits(*input_.runtime, codec);
      if (!fits.ok()) {
        return fits.WithContext(shard.path() + ": neural codec '" + codec.name + "'");
      }
    }
    TensorState& state = tensors_.emplace_back();
    state.info = &info;
    state.shard = &shard;
    state.tensor.info = WithoutChunks(info);
    state.tensor.number = request.number;
    state.facts_at = fact_bytes_;
    fact_bytes_ += AlignUp(FactBytes(info), kFactAlignment);
    NWC_ASSIGN_OR_RETURN(state.tensor.slice, ResolveSlice(info, request.slice));
    // Other ranks want other slices: whole tensors serve all.
    parts_.back().requests.push_back(
        {place.number, ranks_.alone() ? request.slice : TensorSlice()});
  }
  return {};
}

Status DevicePipeline::Plan() {
  NWC_RETURN_IF_ERROR(MakeParts());
  const DeviceLoadOptions& options = *input_.options;
  DeviceBudget budget{options.staging_bytes, options.staging_bytes, options.verify_decoded};
  NWC_RETURN_IF_ERROR(ranks_.AgreeOnPlan(parts_, &budget));
  NWC_ASSIGN_OR_RETURN(plan_, PlanDevice(parts_, budget));
  for (const FetchPiece& piece : plan_.fetch.pieces) {
    if (piece.chunk != FetchPiece::kSideInfo) ++tensors_[piece.tensor].chunks_left;
  }
  return {};
}

Status DevicePipeline::Prepare() {
  reads_.resize(plan_.fetch.reads.size());
  if (reads_.empty()) return {};
  DeviceRuntime* const runtime = input_.runtime;
  ring_ = std::make_unique<StagingRing>(plan_.ring_bytes, plan_.ring_alignment);
  latent_ring_ = std::make_unique<StagingRing>(plan_.latent_ring_bytes);
  if (input_.pinned->span().size() < ring_->capacity_bytes()) {
    *input_.pinned = PinnedBuffer();
    NWC_ASSIGN_OR_RETURN(*input_.pinned, PinnedBuffer::Allocate(runtime, ring_->capacity_bytes()));
  }
  pinned_ = input_.pinned->span().first(ring_->capacity_bytes());
  NWC_ASSIGN_OR_RETURN(staged_, DeviceBuffer::Allocate(runtime, ring_->capacity_bytes()));
  NWC_ASSIGN_OR_RETURN(facts_, DeviceBuffer::Allocate(runtime, fact_bytes_));
  NWC_ASSIGN_OR_RETURN(latents_, DeviceBuffer::Allocate(runtime, latent_ring_->capacity_bytes()));
  if (plan_.check_bytes > 0) {
    NWC_ASSIGN_OR_RETURN(check_, DecodedCheck::Create(runtime, plan_.check_bytes));
  }
  NWC_ASSIGN_OR_RETURN(copy_stream_, OwnedStream::Create(runtime));
  for (OwnedStream& stream : decode_streams_) {
    NWC_ASSIGN_OR_RETURN(stream, OwnedStream::Create(runtime));
  }
  if (!ranks_.reads()) return {};
  ReadQueueOptions options;
  options.copying_threads = CopyingThreads();
  options.check = [this](size_t read) { return CheckRead(read); };
  NWC_ASSIGN_OR_RETURN(queue_, ReadQueue::Create(io_, std::min(kReadsInFlight, reads_.size()),
                                                 pinned_, std::move(options)));
  statistics_.used_uring = queue_->uses_uring();
  statistics_.reading_threads = queue_->threads();
  return {};
}

Status DevicePipeline::Run(const std::function<Status(DeviceTensor)>& ready,
                           DeviceLoadStatistics* statistics) {
  NWC_RETURN_IF_ERROR(Plan());
  Status status = Prepare();
  if (status.ok()) status = Drive(ready);
  if (ring_ != nullptr) {
    statistics_.peak_staging_bytes = ring_->peak_bytes();
    statistics_.peak_latent_bytes = latent_ring_->peak_bytes();
  }
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

// As many as have room. What another rank reads comes when it is launched.
Status DevicePipeline::BeginReads() {
  while ((queue_ == nullptr || queue_->has_room()) && next_read_ < reads_.size()) {
    const FetchRead& read = plan_.fetch.reads[next_read_];
    const auto room = ring_->Reserve(RoomBytes(read));
    if (!room) return {};
    reads_[next_read_].room = *room;
    reads_[next_read_].arrived = queue_ == nullptr || read.size_bytes == 0;
    if (!reads_[next_read_].arrived) {
      statistics_.bytes_read += read.size_bytes;
      queue_->Submit({io_[read.part]->from, read.offset,
                      pinned_.subspan(room->position, read.size_bytes), next_read_});
    }
    ++next_read_;
  }
  return {};
}

Status DevicePipeline::WaitForRead() {
  const ReadCompletion completion = queue_->Wait(input_.cancel);
  if (!completion.status.ok()) {
    if (completion.tag == ReadCompletion::kNoRequest) return completion.status;
    const FetchPiece& first = plan_.fetch.pieces[plan_.fetch.reads[completion.tag].piece_begin];
    return WhileReading(completion.status,
                        "tensor '" + tensors_[first.tensor].info->name + "' and what follows");
  }
  reads_[completion.tag].arrived = true;
  reads_[completion.tag].checked = completion.checked;
  return {};
}

bool DevicePipeline::CanLaunch() const {
  if (next_launch_ == next_read_ || !reads_[next_launch_].arrived) return false;
  const size_t latents = plan_.latent_bytes[next_launch_];
  return latents == 0 || latent_ring_->HasRoom(latents);
}

Status DevicePipeline::LaunchRead(size_t number) {
  const FetchRead& read = plan_.fetch.reads[number];
  Batch& batch =
      batches_.emplace_back(input_.runtime->max_shared_bytes(), input_.options->arithmetic);
  batch.read = number;
  NWC_ASSIGN_OR_RETURN(batch.copied, OwnedEvent::Create(input_.runtime));
  NWC_ASSIGN_OR_RETURN(batch.done, OwnedEvent::Create(input_.runtime));
  const size_t position = reads_[number].room.position;
  const MutableByteSpan bytes = pinned_.subspan(position, read.size_bytes);
  NWC_RETURN_IF_ERROR(ranks_.Agree(reads_[number].checked));
  if (!ranks_.alone()) {
    NWC_RETURN_IF_ERROR(ranks_.Share(input_.runtime, bytes, HostParts(read, bytes),
                                     staged_.address() + position, copy_stream_.get(),
                                     &batch.bytes_sent));
  }
  NWC_RETURN_IF_ERROR(AddPieces(&batch));
  batch.rules_at = position + DescriptionOffset(read);
  batch.decode.Describe(
      pinned_.subspan(batch.rules_at, DecodeBatch::MaxDescriptionBytes(batch.decode.chunk_count())),
      staged_.address() + batch.rules_at);
  return CopyAndDecode(&batch);
}

// R20 of chunks, and side information. That may say much in few bytes, and what many reads say
// waits in the host's memory: a read's is parsed here up to its own size, beyond that by
// AcceptSideInfo, which hands each tensor's to the device at once.
Status DevicePipeline::CheckRead(size_t number) {
  const FetchRead& read = plan_.fetch.reads[number];
  const ByteSpan bytes = pinned_.subspan(reads_[number].room.position, read.size_bytes);
  uint64_t fact_bytes = 0;
  for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
    const FetchPiece& piece = plan_.fetch.pieces[p];
    const ByteSpan own = bytes.subspan(piece.read_offset, piece.size_bytes);
    if (piece.chunk == FetchPiece::kSideInfo) {
      fact_bytes += FactBytes(*tensors_[piece.tensor].info);
      if (fact_bytes > read.size_bytes) continue;
      const Status parsed = ParseSide(&tensors_[piece.tensor], own);
      if (!parsed.ok()) return parsed.WithContext(Where(piece));
      continue;
    }
    if (!input_.options->verify) continue;
    const uint64_t expected = tensors_[piece.tensor].info->chunks[piece.chunk].hash;
    const uint64_t hash = Hash64(own);
    if (hash == expected) continue;
    return Status::Corrupt(20, Where(piece) + ": hash " + ToHex(hash) + ", expected " +
                                   ToHex(expected) + "; the file is damaged: fetch it again");
  }
  return {};
}

std::vector<MutableByteSpan> DevicePipeline::HostParts(const FetchRead& read,
                                                       MutableByteSpan bytes) const {
  std::vector<MutableByteSpan> parts;
  for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
    const FetchPiece& piece = plan_.fetch.pieces[p];
    const bool side = piece.chunk == FetchPiece::kSideInfo;
    parts.push_back(bytes.subspan(
        piece.read_offset,
        std::min<size_t>(piece.size_bytes, side ? SIZE_MAX : DecodeBatch::kHostBytes)));
  }
  return parts;
}

Status DevicePipeline::AddPieces(Batch* batch) {
  const FetchRead& read = plan_.fetch.reads[batch->read];
  const size_t position = reads_[batch->read].room.position;
  size_t latents_at = 0;
  if (const size_t bytes = plan_.latent_bytes[batch->read]; bytes > 0) {
    batch->latents = *latent_ring_->Reserve(bytes);
    batch->has_latents = true;
    latents_at = batch->latents.position;
  }
  for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
    const FetchPiece& piece = plan_.fetch.pieces[p];
    const ByteSpan bytes = pinned_.subspan(position + piece.read_offset, piece.size_bytes);
    const Status status = piece.chunk == FetchPiece::kSideInfo
                              ? AcceptSideInfo(&tensors_[piece.tensor], bytes)
                              : AddChunk(piece, bytes, &latents_at, batch);
    if (!status.ok()) return status.WithContext(Where(piece));
  }
  return {};
}

Status DevicePipeline::ParseSide(TensorState* state, ByteSpan side) {
  const TensorInfo& info = *state->info;
  const int qualities =
      info.neural ? state->shard->index().neural_codecs[info.neural->codec].qualities : 0;
  NWC_ASSIGN_OR_RETURN(state->facts, ParseTensorFacts(info, side, qualities));
  return {};
}

Status DevicePipeline::AcceptSideInfo(TensorState* state, ByteSpan side) {
  // Another rank has read it, or it was too much to keep.
  if (!state->facts) NWC_RETURN_IF_ERROR(ParseSide(state, side));
  NWC_ASSIGN_OR_RETURN(DeviceCodec codec,
                       input_.codecs->Of(state->tensor.number, copy_stream_.get(), input_.cancel));
  NWC_ASSIGN_OR_RETURN(state->decoder, DeviceTensorDecoder::Create(
                                           input_.runtime, *state->info,
                                           *std::exchange(state->facts, {}), std::move(codec),
                                           facts_.address() + state->facts_at, copy_stream_.get()));
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
  if (!Touches(state.tensor.slice, state.info->Tile(piece.chunk))) return {};  // another rank's
  if (!state.open) NWC_RETURN_IF_ERROR(OpenTensor(&state));
  if (state.decoder == nullptr) {  // without side information
    NWC_ASSIGN_OR_RETURN(state.decoder, DeviceTensorDecoder::Create(input_.runtime, *state.info, {},
                                                                    {}, {}, copy_stream_.get()));
  }
  const auto offset = static_cast<size_t>(bytes.data() - pinned_.data());
  batch->decode.Add({state.decoder.get(), piece.chunk, bytes, staged_.address() + offset,
                     state.tensor.slice, state.tensor.bytes, latents_.address() + *latents_at});
  *latents_at +=
      AlignUp(DecodeBatch::LatentBytes(*state.decoder, piece.chunk), DecodeBatch::kLatentAlignment);
  return {};
}

Status DevicePipeline::CopyAndDecode(Batch* batch) {
  DeviceRuntime* const runtime = input_.runtime;
  const DeviceStream decode = decode_streams_[batch->read % kDecodeStreams].get();
  const size_t begin = batch->bytes_sent ? batch->rules_at : reads_[batch->read].room.position;
  const size_t size_bytes = batch->rules_at + batch->decode.description_bytes() - begin;
  if (size_bytes > 0) {
    NWC_RETURN_IF_ERROR(runtime->CopyToDevice(staged_.address() + begin, pinned_.data() + begin,
                                              size_bytes, copy_stream_.get()));
  }
  NWC_RETURN_IF_ERROR(runtime->Record(batch->copied.get(), copy_stream_.get()));
  NWC_RETURN_IF_ERROR(runtime->MakeWait(decode, batch->copied.get()));
  NWC_RETURN_IF_ERROR(batch->decode.Launch(runtime, decode));
  if (const size_t rules = batch->decode.rules_bytes(); rules > 0) {
    NWC_RETURN_IF_ERROR(runtime->CopyToHost(pinned_.data() + batch->rules_at,
                                            staged_.address() + batch->rules_at, rules, decode));
  }
  statistics_.bytes_copied += size_bytes;
  if (batch->bytes_sent && ranks_.reads()) {
    statistics_.bytes_copied += plan_.fetch.reads[batch->read].size_bytes;
  }
  ++statistics_.batches;
  statistics_.peak_batches = std::max(statistics_.peak_batches, batches_.size());
  return runtime->Record(batch->done.get(), decode);
}

Status DevicePipeline::Retire(bool wait) {
  while (!batches_.empty()) {
    Batch& batch = batches_.front();
    if (wait) {
      NWC_RETURN_IF_ERROR(ranks_.Await(input_.runtime, batch.done.get()));
      wait = false;
    } else {
      NWC_ASSIGN_OR_RETURN(const bool done, input_.runtime->IsDone(batch.done.get()));
      if (!done) return {};
    }
    const FetchRead& read = plan_.fetch.reads[batch.read];
    if (const Status status = batch.decode.Check(pinned_.data() + batch.rules_at); !status.ok()) {
      return status.WithContext(parts_[read.part].loader->path());
    }
    for (size_t p = read.piece_begin; p < read.piece_end; ++p) {
      const FetchPiece& piece = plan_.fetch.pieces[p];
      if (piece.chunk != FetchPiece::kSideInfo) --tensors_[piece.tensor].chunks_left;
    }
    ring_->Release(reads_[batch.read].room.ticket);
    if (batch.has_latents) latent_ring_->Release(batch.latents.ticket);
    batches_.pop_front();
  }
  return {};
}

// R29.
Status DevicePipeline::CheckDecoded(const TensorState& state) {
  const DeviceTensor& tensor = state.tensor;
  if (!input_.options->verify_decoded || tensor.slice != WholeSlice(*state.info)) return {};
  Hash128 hash = Hash128Of({});
  if (const uint64_t size_bytes = state.info->decoded_bytes(); size_bytes > 0) {
    NWC_ASSIGN_OR_RETURN(hash, check_->HashOf(tensor.bytes, size_bytes));
  }
  if (hash == state.info->decoded_hash) return {};
  return Status::Corrupt(29, state.shard->path() + ": tensor '" + state.info->name +
                                 "': decoded bytes hash to " + ToHex(hash) + ", expected " +
                                 ToHex(state.info->decoded_hash));
}

Status DevicePipeline::HandOver(const std::function<Status(DeviceTensor)>& ready) {
  for (; handed_ < tensors_.size() && tensors_[handed_].chunks_left == 0; ++handed_) {
    TensorState& state = tensors_[handed_];
    NWC_RETURN_IF_ERROR(CheckDecoded(state));
    statistics_.bytes_decoded += state.tensor.slice.weights() * DTypeSize(state.tensor.info.dtype);
    NWC_RETURN_IF_ERROR(ready(std::move(state.tensor)));
  }
  return {};
}

}  // namespace nwc
