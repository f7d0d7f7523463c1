#include "loader/read_range.h"

#include <algorithm>

#include "loader/read_queue.h"

namespace nwc {
namespace {

// A queue whose reads are over when it goes. If io_uring itself failed the kernel may still write
// to the buffer: losing that is the lesser evil.
class RangeReads {
 public:
  RangeReads(std::unique_ptr<ReadQueue> queue, AlignedBuffer* buffer)
      : queue_(std::move(queue)), buffer_(buffer) {}
  ~RangeReads() {
    queue_->Interrupt();
    if (!queue_->Drain()) new AlignedBuffer(std::move(*buffer_));
  }
  RangeReads(const RangeReads&) = delete;
  RangeReads& operator=(const RangeReads&) = delete;

  Status Run(const ReadFrom& from, uint64_t offset, MutableByteSpan rest,
             const std::atomic<bool>* cancel) {
    const uint64_t step = AlignUp(from.source->traits().joined_bytes, kDirectBlock);
    while (!rest.empty() || queue_->in_flight() > 0) {
      if (cancel != nullptr && *cancel) return Cancelled(*from.source);
      if (!rest.empty() && queue_->has_room()) {
        const size_t size = std::min<uint64_t>(rest.size(), step);
        queue_->Submit({from, offset, rest.first(size), 0});
        offset += size;
        rest = rest.subspan(size);
        continue;
      }
      ReadCompletion completion = queue_->Wait(cancel);
      if (completion.status.code() == ErrorCode::kCancelled) return Cancelled(*from.source);
      NWC_RETURN_IF_ERROR(std::move(completion.status));
    }
    return {};
  }

 private:
  static Status Cancelled(const ByteSource& source) {
    return Status(ErrorCode::kCancelled, source.name() + ": reading was cancelled");
  }

  std::unique_ptr<ReadQueue> queue_;
  AlignedBuffer* buffer_;
};

}  // namespace

Status ReadRange(const IoChoice& io, const ReadFrom& from, uint64_t offset, uint64_t size_bytes,
                 AlignedBuffer* buffer, const std::atomic<bool>* cancel) {
  if (size_bytes == 0) return {};
  if (buffer->size() < size_bytes) {
    *buffer = {};  // frees it first
    auto grown = AlignedBuffer::Allocate(size_bytes, kDirectBlock);
    if (!grown.ok()) return grown.status().WithContext(from.source->name());
    *buffer = std::move(*grown);
  }
  const MutableByteSpan bytes = buffer->mutable_span().first(size_bytes);
  const IoChoice* const choices[] = {&io};
  NWC_ASSIGN_OR_RETURN(auto queue, ReadQueue::Create(choices, kReadsInFlight, {}));
  return RangeReads(std::move(queue), buffer).Run(from, offset, bytes, cancel);
}

}  // namespace nwc
