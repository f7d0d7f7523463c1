// loader/nwc.h: streams with a completion queue, and borrowed tensors.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "loader/nwc_c_handles.h"

namespace {

using nwc::ErrorCode;
using nwc::Status;

constexpr size_t kQueueLength = 2;
constexpr std::chrono::hours kLongest(24 * 365);  // later than that, clocks would overflow

}  // namespace

// A thread loads and pushes; whoever calls nwc_stream_next pops. A full queue holds the load back.
struct nwc_stream {
  nwc_stream(std::shared_ptr<const nwc::ModelLoader> model, std::vector<nwc::TensorRequest> wanted,
             size_t queue_length)
      : model_(std::move(model)), requests_(std::move(wanted)), queue_length_(queue_length) {}
  ~nwc_stream() {
    Cancel();
    if (thread_.joinable()) thread_.join();
  }
  nwc_stream(const nwc_stream&) = delete;
  nwc_stream& operator=(const nwc_stream&) = delete;

  void Start() {
    thread_ = std::thread([this] { Load(); });
  }
  void Cancel();
  // Sets *outcome to NWC_OK, with *tensor, to NWC_TIMEOUT or to NWC_FINISHED; or fails.
  Status Next(int64_t timeout_ms, std::unique_ptr<nwc_tensor>* tensor, nwc_code* outcome);
  Status CopyStatistics(nwc_statistics* out);

 private:
  void Load();
  Status Push(nwc::Tensor tensor);
  [[nodiscard]] Status CancelledError() const {
    return Status(ErrorCode::kCancelled, model_->path() + ": loading was cancelled");
  }
  [[nodiscard]] bool cancelled() const { return cancel_.load(std::memory_order_relaxed); }

  const std::shared_ptr<const nwc::ModelLoader> model_;
  const std::vector<nwc::TensorRequest> requests_;
  const size_t queue_length_;
  std::atomic<bool> cancel_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable room_, arrived_;
  std::deque<std::unique_ptr<nwc_tensor>> ready_;
  bool dropped_ = false;  // tensors that were ready, when it was cancelled
  bool over_ = false;     // nothing is pushed any more; end_ and statistics_ are there
  Status end_;
  nwc::LoadStatistics statistics_;

  std::thread thread_;
};

void nwc_stream::Load() {
  nwc::LoadStatistics statistics;
  const auto push = [this](nwc::Tensor tensor) { return Push(std::move(tensor)); };
  Status end = model_->Stream(requests_, push, &statistics, &cancel_);
  const std::lock_guard lock(mutex_);
  end_ = std::move(end);
  statistics_ = statistics;
  over_ = true;
  arrived_.notify_all();
}

Status nwc_stream::Push(nwc::Tensor tensor) {
  const uint64_t stored_bytes = model_->tensor(tensor.number).payload_bytes();
  auto ready = std::make_unique<nwc_tensor>(nwc_tensor{std::move(tensor), stored_bytes});
  std::unique_lock lock(mutex_);
  room_.wait(lock, [this] { return cancelled() || ready_.size() < queue_length_; });
  if (cancelled()) return CancelledError();
  ready_.push_back(std::move(ready));
  arrived_.notify_one();
  return {};
}

void nwc_stream::Cancel() {
  const std::lock_guard lock(mutex_);
  cancel_ = true;
  dropped_ = dropped_ || !ready_.empty();
  ready_.clear();
  room_.notify_all();
  arrived_.notify_all();
}

Status nwc_stream::Next(int64_t timeout_ms, std::unique_ptr<nwc_tensor>* tensor,
                        nwc_code* outcome) {
  std::unique_lock lock(mutex_);
  const auto done = [this] { return over_ || cancelled() || !ready_.empty(); };
  if (timeout_ms < 0) {
    arrived_.wait(lock, done);
  } else {
    const std::chrono::milliseconds longest(kLongest);
    arrived_.wait_for(lock, std::min(std::chrono::milliseconds(timeout_ms), longest), done);
  }
  *outcome = NWC_OK;
  if (!ready_.empty()) {
    *tensor = std::move(ready_.front());
    ready_.pop_front();
    room_.notify_one();
    return {};
  }
  if (over_ && !dropped_) {
    *outcome = NWC_FINISHED;
    return end_;
  }
  if (cancelled()) return CancelledError();
  *outcome = NWC_TIMEOUT;
  return {};
}

Status nwc_stream::CopyStatistics(nwc_statistics* out) {
  const std::lock_guard lock(mutex_);
  if (!over_) {
    return Status(ErrorCode::kUsage,
                  "nwc_stream_statistics: the stream has not ended; take all its tensors first");
  }
  nwc_statistics filled{};
  filled.bytes_read = statistics_.bytes_read;
  filled.bytes_decoded = statistics_.bytes_decoded;
  filled.reads = statistics_.reads;
  filled.peak_staging_bytes = statistics_.peak_staging_bytes;
  filled.seconds = statistics_.seconds;
  filled.used_uring = statistics_.used_uring ? 1 : 0;
  return nwc::CopyOut("nwc_statistics", filled, out);
}

namespace {

std::vector<nwc::TensorRequest> Wanted(const nwc::ModelLoader& model, const nwc_request* requests,
                                       size_t count) {
  std::vector<nwc::TensorRequest> wanted;
  if (requests == nullptr) {
    for (size_t i = 0; i < model.tensor_count(); ++i) {
      if (model.tensor(i).supported()) wanted.push_back({i});
    }
    return wanted;
  }
  wanted.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    wanted.push_back({requests[i].number, nwc::SliceFrom(&requests[i].slice)});
  }
  return wanted;
}

// nwc_stream::Next with its failure reported.
nwc_code TakeNext(nwc_stream* stream, int64_t timeout_ms, std::unique_ptr<nwc_tensor>* tensor) {
  nwc_code outcome = NWC_OK;
  const nwc_code failure = nwc::Guarded([&] { return stream->Next(timeout_ms, tensor, &outcome); });
  return failure == NWC_OK ? outcome : failure;
}

}  // namespace

nwc_code nwc_stream_start(const nwc_model* model, const nwc_request* requests, size_t count,
                          size_t queue_length, nwc_stream** stream) {
  return nwc::Guarded([&]() -> Status {
    if (model == nullptr) return nwc::NullArgument("nwc_stream_start", "model");
    if (stream == nullptr) return nwc::NullArgument("nwc_stream_start", "stream");
    if (requests == nullptr && count > 0) {
      return nwc::NullArgument("nwc_stream_start", "requests");
    }
    auto made = std::make_unique<nwc_stream>(model->loader, Wanted(*model->loader, requests, count),
                                             queue_length > 0 ? queue_length : kQueueLength);
    try {
      made->Start();
    } catch (const std::system_error& error) {
      return Status(ErrorCode::kIo,
                    model->loader->path() + ": cannot start a thread: " + error.what());
    }
    *stream = made.release();
    return {};
  });
}

nwc_code nwc_stream_next(nwc_stream* stream, int64_t timeout_ms, nwc_tensor** tensor) {
  if (stream == nullptr) return nwc::Report(nwc::NullArgument("nwc_stream_next", "stream"));
  if (tensor == nullptr) return nwc::Report(nwc::NullArgument("nwc_stream_next", "tensor"));
  std::unique_ptr<nwc_tensor> next;
  const nwc_code code = TakeNext(stream, timeout_ms, &next);
  if (code == NWC_OK) *tensor = next.release();
  return code;
}

void nwc_stream_cancel(nwc_stream* stream) { stream->Cancel(); }

nwc_code nwc_stream_statistics(nwc_stream* stream, nwc_statistics* statistics) {
  return nwc::Guarded([&]() -> Status {
    if (stream == nullptr) return nwc::NullArgument("nwc_stream_statistics", "stream");
    if (statistics == nullptr) return nwc::NullArgument("nwc_stream_statistics", "statistics");
    return stream->CopyStatistics(statistics);
  });
}

void nwc_stream_free(nwc_stream* stream) { delete stream; }

size_t nwc_view_number(const nwc_view* view) { return view->tensor.tensor.number; }
nwc_slice nwc_view_slice(const nwc_view* view) { return nwc_tensor_slice(&view->tensor); }

nwc_code nwc_view_describe(const nwc_view* view, nwc_tensor_info* info) {
  return nwc_tensor_describe(&view->tensor, info);
}

const void* nwc_view_elements(const nwc_view* view, nwc_dtype expected, size_t* count) {
  const nwc::Tensor& tensor = view->tensor.tensor;
  *count = 0;
  if (static_cast<nwc_dtype>(tensor.info.dtype) != expected) return nullptr;
  *count = tensor.slice.weights();
  return tensor.bytes.data();
}

nwc_code nwc_stream_visit(nwc_stream* stream, nwc_visitor visit, void* context) {
  if (stream == nullptr) return nwc::Report(nwc::NullArgument("nwc_stream_visit", "stream"));
  if (visit == nullptr) return nwc::Report(nwc::NullArgument("nwc_stream_visit", "visit"));
  std::unique_ptr<nwc_tensor> tensor;
  nwc_code code = NWC_OK;
  while ((code = TakeNext(stream, -1, &tensor)) == NWC_OK) {
    const nwc_view view{*tensor};
    if (const nwc_code answer = visit(context, &view); answer != NWC_OK) return answer;
    tensor.reset();
  }
  return code == NWC_FINISHED ? static_cast<nwc_code>(NWC_OK) : code;
}
