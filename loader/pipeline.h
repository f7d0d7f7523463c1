// Reads, checks and decodes the tensors of a plan at the same time, within a budget of staging
// memory, and hands them over in the order they were asked for. The plan may go through several
// containers: reads of the next one begin while tensors of the one before are being decoded.
//
//   reader thread   makes the staging block, which so lies near it; plan -> room in it -> read ->
//                   pieces arrive
//   decode threads  piece -> hash -> tensor's buffer (through scratch of its own where only a part
//                   of the tile is wanted)
//   calling thread  opens tensors (allocates their buffers), hands whole ones over
//
// Only the tensor being handed over and the two after it are open. Pieces of later tensors wait in
// the staging block, which so holds the reader back. Reads get their room in the order of delivery,
// whatever order that is, and pieces lie in that order in them. So before a piece of a tensor come
// all pieces of the tensors before it: what the oldest unfinished tensor waits for has its room, or
// gets it when reads that hold only pieces of it and of finished tensors give theirs back, which
// they do. Nothing can deadlock.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "loader/fetch_plan.h"
#include "loader/loader.h"
#include "loader/read_queue.h"
#include "loader/staging_ring.h"
#include "loader/tensor_assembly.h"

namespace nwc {

// Some tensors of one container. What it points to outlives the pipeline.
struct PipelinePart {
  const Index* index = nullptr;
  const LoadOptions* options = nullptr;
  const IoChoice* io = nullptr;
  std::vector<TensorRequest> requests;
  size_t first_number = 0;  // is added to the numbers of tensors that are handed over
  // The codecs of requests, one each; called once, when the plan is known to be possible.
  std::function<Result<std::vector<ChunkCodec>>(std::span<const TensorRequest>,
                                                const std::atomic<bool>* cancel)>
      codecs;

  [[nodiscard]] const ByteSource& source() const { return *io->from.source; }
};

struct PipelineInput {
  std::string name;                           // of the whole, for messages
  std::vector<PipelinePart> parts;            // one after the other; not empty
  const std::atomic<bool>* cancel = nullptr;  // ends it when set, or null
};

// Runs once. May throw std::bad_alloc or std::system_error, and what `ready` throws; threads and
// reads are over by then in every case, and when it returns. Soon after *cancel is set it returns
// kCancelled.
Status RunPipeline(const PipelineInput& input, const std::function<Status(Tensor)>& ready,
                   LoadStatistics* statistics);

class Pipeline {
 public:
  // `plan` and `codecs`: of the tensors of all parts.
  Pipeline(const PipelineInput& input, FetchPlan plan, const std::vector<ChunkCodec>& codecs);
  ~Pipeline();  // stops and joins all threads
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  Status Run(const std::function<Status(Tensor)>& ready, LoadStatistics* statistics);

 private:
  // A piece that lies in the staging block.
  struct Arrival {
    size_t piece;  // in plan_.pieces
    size_t read;   // in plan_.reads
  };
  struct TensorState {
    TensorState(const TensorInfo& info, const TensorSlice& slice, const AssemblySettings& settings,
                const ChunkCodec& codec)
        : assembly(info, slice, settings, codec) {}
    TensorAssembly assembly;
    size_t number = 0;            // of the tensor when it is handed over
    std::vector<Arrival> parked;  // came before they could be decoded
    size_t chunks_left = 0;
    bool open = false;       // has its buffer
    bool decodable = false;  // has its side information, or needs none
    bool whole = false;
  };
  struct ReadState {
    StagingRing::Room room;
    size_t pieces_left = 0;
  };

  void Start();
  void Stop();
  void End(Status status);  // all threads; the first status is kept

  // Reader thread.
  Status MakeQueue();
  void ReadLoop();
  bool BeginReads();
  bool WaitForRoom();
  void Arrive(size_t read);
  [[nodiscard]] std::string TensorsOf(const FetchRead& read) const;

  // Decode threads.
  void DecodeLoop();
  Status Process(const Arrival& arrival, AlignedBuffer* scratch);

  // With the mutex held.
  bool Finish(const Arrival& arrival);
  void Offer(const Arrival& arrival);
  void Unpark(TensorState* tensor);

  // Of a read whose room is reserved.
  MutableByteSpan StagedBytes(size_t read, uint64_t offset, uint64_t size_bytes);

  // Calling thread.
  Status OpenTensors(size_t end);
  Status HandOver(const std::function<Status(Tensor)>& ready);
  Status WaitUntilWhole(size_t tensor);

  const PipelineInput& input_;
  const FetchPlan plan_;
  std::vector<AssemblySettings> settings_;  // of each part
  AlignedBuffer block_;  // of staging memory; outlives the queue that reads into it

  // Guards what follows up to status_ and statistics_. A tensor's assembly is the calling thread's
  // until the tensor is open and once it is whole, else the decode threads'; a read's room is fixed
  // from its begin until its last piece is finished.
  std::mutex mutex_;
  std::condition_variable room_, work_, whole_;
  std::unique_ptr<ReadQueue> queue_;  // set once, and used by the reader thread but for Interrupt
  StagingRing staging_;
  std::vector<ReadState> reads_;
  std::vector<TensorState> tensors_;
  std::deque<Arrival> runnable_;
  size_t next_read_ = 0;
  bool stopped_ = false;
  Status status_;
  LoadStatistics statistics_;

  size_t opened_ = 0;  // tensors; calling thread only
  std::vector<std::thread> threads_;
};

}  // namespace nwc
