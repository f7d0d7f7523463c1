// Reads, copies and decodes the tensors of a plan at the same time, on one thread:
//
//   read queue      plan -> room in the pinned block -> read
//   copy stream     side information; read and description -> same place in the device's block
//   decode streams  kernels of one read, rules back into the pinned block -> event
//   calling thread  drives all of it, hands tensors over
//
// Reads get their room in the order of the plan and are copied and launched in that order, so what
// the oldest unfinished tensor waits for always has its room: nothing can deadlock. Every decode
// stream waits for the copy stream, which so orders what decoding needs (side information, memory
// of the caller's). A room is given back when the host has seen the event after the rules.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "cuda/decode_batch.h"
#include "cuda/device_loader.h"
#include "cuda/device_memory.h"
#include "loader/fetch_plan.h"
#include "loader/io_choice.h"
#include "loader/read_queue.h"
#include "loader/staging_ring.h"

namespace nwc {

// All of it outlives the pipeline.
struct DevicePipelineInput {
  DeviceRuntime* runtime = nullptr;
  const Loader* loader = nullptr;
  const DeviceLoadOptions* options = nullptr;
  const IoChoice* io = nullptr;
  std::span<const TensorRequest> requests;
  const std::atomic<bool>* cancel = nullptr;
  // The codec of a tensor by its number; what it uploads goes to the stream.
  std::function<Result<DeviceCodec>(size_t number, DeviceStream stream)> codec;
};

class DevicePipeline {
 public:
  explicit DevicePipeline(const DevicePipelineInput& input) : input_(input) {}
  ~DevicePipeline();  // waits for all reads and for the device
  DevicePipeline(const DevicePipeline&) = delete;
  DevicePipeline& operator=(const DevicePipeline&) = delete;

  // Once.
  Status Run(const std::function<Status(DeviceTensor)>& ready, DeviceLoadStatistics* statistics);

 private:
  static constexpr size_t kDecodeStreams = 4;

  struct TensorState {
    DeviceTensor tensor;
    std::unique_ptr<DeviceTensorDecoder> decoder;
    size_t chunks_left = 0;
    bool open = false;
  };
  struct ReadState {
    StagingRing::Room room;
    bool arrived = false;
  };
  // A read between its copy and the end of its decoding.
  struct Batch {
    explicit Batch(NeuralArithmetic arithmetic) : decode(arithmetic) {}
    size_t read = 0;
    DecodeBatch decode;
    size_t rules_at = 0;  // in the blocks
    bool has_latents = false;
    StagingRing::Room latents;
    OwnedEvent copied, done;
  };

  Status Plan();
  Status Prepare();
  Status Drive(const std::function<Status(DeviceTensor)>& ready);

  Status BeginReads();
  Status WaitForRead();
  // Whether the next read has arrived and its latents have room.
  [[nodiscard]] bool CanLaunch() const;
  Status LaunchRead(size_t read);
  Status AddPieces(Batch* batch);
  Status AddChunk(const FetchPiece& piece, ByteSpan bytes, size_t* latents_at, Batch* batch);
  Status AcceptSideInfo(TensorState* state, ByteSpan side);
  Status OpenTensor(TensorState* state);
  Status CopyAndDecode(Batch* batch, size_t size_bytes);
  // Ends batches, oldest first: those that are done, or waits for one.
  Status Retire(bool wait);
  Status HandOver(const std::function<Status(DeviceTensor)>& ready);

  [[nodiscard]] const TensorInfo& InfoOf(const FetchPiece& piece) const;
  [[nodiscard]] size_t LatentBytesOf(const FetchRead& read) const;
  [[nodiscard]] std::string Where(const FetchPiece& piece) const;
  [[nodiscard]] size_t RoomBytes(const FetchRead& read) const;
  [[nodiscard]] bool Cancelled() const;
  [[nodiscard]] Status CancelledError() const;

  const DevicePipelineInput input_;
  FetchPlan plan_;
  DeviceLoadStatistics statistics_;

  PinnedBuffer pinned_;
  DeviceBuffer staged_, latents_;
  std::unique_ptr<ReadQueue> queue_;  // after pinned_, into which it reads
  OwnedStream copy_stream_;
  OwnedStream decode_streams_[kDecodeStreams];
  std::unique_ptr<StagingRing> ring_, latent_ring_;

  std::vector<ReadState> reads_;
  std::vector<TensorState> tensors_;
  std::vector<OwnedEvent> caller_events_;
  std::deque<Batch> batches_;
  size_t next_read_ = 0;    // to be begun
  size_t next_launch_ = 0;  // to be launched
  size_t handed_ = 0;       // tensors
};

}  // namespace nwc
