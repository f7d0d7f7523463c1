// Reads, copies and decodes the tensors of a plan at the same time, on one thread:
//
//   read queue      plan -> room in the pinned block -> read
//   other ranks     what the reading one has, once it was checked (SharedReads)
//   copy stream     side information; read and description -> same place in the device's block
//   decode streams  kernels of one read, rules back into the pinned block -> event
//   calling thread  drives all of it, hands tensors over
//
// Reads get their room in the order of the plan and are copied and launched in that order, so what
// the oldest unfinished tensor waits for always has its room: nothing can deadlock. Every decode
// stream waits for the copy stream, which so orders what decoding needs (side information, memory
// of the caller's). A room is given back when the host has seen the event after the rules.
#pragma once

#include <array>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "cuda/decode_batch.h"
#include "cuda/decoded_check.h"
#include "cuda/device_loader.h"
#include "cuda/device_memory.h"
#include "cuda/device_plan.h"
#include "cuda/model_codecs.h"
#include "cuda/shared_reads.h"
#include "loader/io_choice.h"
#include "loader/read_queue.h"
#include "loader/staging_ring.h"

namespace nwc {

// All of it outlives the pipeline.
struct DevicePipelineInput {
  DeviceRuntime* runtime = nullptr;
  const ModelLoader* model = nullptr;
  const DeviceLoadOptions* options = nullptr;
  ModelCodecs* codecs = nullptr;   // of the model, on the device
  PinnedBuffer* pinned = nullptr;  // of an earlier call; made larger where that is too small
  std::span<const TensorRequest> requests;
  const std::atomic<bool>* cancel = nullptr;
};

// DeviceLoader::Stream but for what outlasts it.
Status RunDevicePipeline(const DevicePipelineInput& input,
                         const std::function<Status(DeviceTensor)>& ready,
                         DeviceLoadStatistics* statistics);

class DevicePipeline {
 public:
  explicit DevicePipeline(const DevicePipelineInput& input)
      : input_(input), ranks_(input.options->ranks) {}
  ~DevicePipeline();  // waits for all reads and for the device
  DevicePipeline(const DevicePipeline&) = delete;
  DevicePipeline& operator=(const DevicePipeline&) = delete;

  // Once. May throw what `ready` throws, std::bad_alloc and std::system_error.
  Status Run(const std::function<Status(DeviceTensor)>& ready, DeviceLoadStatistics* statistics);

 private:
  // A read's kernel takes as long as one chunk, a third of a millisecond, however few there are.
  static constexpr size_t kDecodeStreams = 8;

  struct TensorState {
    DeviceTensor tensor;
    const TensorInfo* info = nullptr;
    const Loader* shard = nullptr;
    std::optional<TensorFacts> facts;  // from CheckRead to AcceptSideInfo
    std::unique_ptr<DeviceTensorDecoder> decoder;
    uint64_t facts_at = 0;  // in facts_
    size_t chunks_left = 0;
    bool open = false;
  };
  struct ReadState {
    StagingRing::Room room;
    bool arrived = false;
    Status checked;  // once it arrived, by CheckRead
  };
  // A read between its copy and the end of its decoding.
  struct Batch {
    Batch(size_t max_shared_bytes, NeuralArithmetic arithmetic)
        : decode(max_shared_bytes, arithmetic) {}
    size_t read = 0;
    DecodeBatch decode;
    bool bytes_sent = false;  // the copy stream has the read on its way to the device
    size_t rules_at = 0;      // in the blocks
    bool has_latents = false;
    StagingRing::Room latents;
    OwnedEvent copied, done;
  };

  Status MakeParts();
  Status Plan();
  Status Prepare();
  Status Drive(const std::function<Status(DeviceTensor)>& ready);

  Status BeginReads();
  Status WaitForRead();
  // Whether the next read has arrived and its latents have room.
  [[nodiscard]] bool CanLaunch() const;
  Status LaunchRead(size_t read);
  // Of a read that arrived; called by threads of the queue.
  Status CheckRead(size_t read);
  static Status ParseSide(TensorState* state, ByteSpan side);
  // What the host looks at of a read; the rest only the device needs.
  [[nodiscard]] std::vector<MutableByteSpan> HostParts(const FetchRead& read,
                                                       MutableByteSpan bytes) const;
  Status AddPieces(Batch* batch);
  Status AddChunk(const FetchPiece& piece, ByteSpan bytes, size_t* latents_at, Batch* batch);
  Status AcceptSideInfo(TensorState* state, ByteSpan side);
  Status OpenTensor(TensorState* state);
  Status CopyAndDecode(Batch* batch);
  // Ends batches, oldest first: those that are done, or waits for one.
  Status Retire(bool wait);
  Status HandOver(const std::function<Status(DeviceTensor)>& ready);
  Status CheckDecoded(const TensorState& state);

  [[nodiscard]] std::string Where(const FetchPiece& piece) const;
  [[nodiscard]] bool Cancelled() const;
  [[nodiscard]] Status CancelledError() const;

  const DevicePipelineInput input_;
  SharedReads ranks_;
  std::vector<DevicePart> parts_;
  std::vector<const IoChoice*> io_;  // of each part
  DevicePlan plan_;
  DeviceLoadStatistics statistics_;

  MutableByteSpan pinned_;  // the block
  DeviceBuffer staged_, latents_, facts_;
  std::unique_ptr<ReadQueue>
      queue_;  // after pinned_, into which it reads; null: another rank reads
  OwnedStream copy_stream_;
  std::array<OwnedStream, kDecodeStreams> decode_streams_;
  std::unique_ptr<DecodedCheck> check_;
  std::unique_ptr<StagingRing> ring_, latent_ring_;

  uint64_t fact_bytes_ = 0;
  std::vector<ReadState> reads_;
  std::vector<TensorState> tensors_;
  std::vector<OwnedEvent> caller_events_;
  std::deque<Batch> batches_;
  size_t next_read_ = 0;    // to be begun
  size_t next_launch_ = 0;  // to be launched
  size_t handed_ = 0;       // tensors
};

}  // namespace nwc
