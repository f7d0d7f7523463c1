#include "tools/bench_decode.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <utility>

#include "loader/byte_source.h"
#include "tools/parallel_for.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

constexpr double kShortestRun = 0.02;  // seconds

double SecondsOf(const std::function<void()>& body) {
  const auto begun = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
}

Status ReadStored(const Loader& loader, PackedTensorBytes* tensor) {
  const Chunk& last = tensor->info->chunks.back();
  NWC_ASSIGN_OR_RETURN(tensor->stored,
                       AlignedBuffer::Allocate(last.offset + last.size - tensor->begin()));
  NWC_RETURN_IF_ERROR(loader.source().ReadUnlessStopped(
      tensor->begin(), tensor->stored.mutable_span(), StopRequested()));
  NWC_ASSIGN_OR_RETURN(tensor->decoded, AlignedBuffer::Allocate(tensor->info->decoded_bytes()));
  return {};
}

Speed Count(const std::vector<PackedTensorBytes*>& tensors) {
  Speed speed;
  for (const PackedTensorBytes* t : tensors) {
    ++speed.tensors;
    speed.weights += t->info->weights();
    speed.stored_bytes += t->info->payload_bytes();
    speed.decoded_bytes += t->info->decoded_bytes();
  }
  return speed;
}

// Decodes tensors from memory; keeps the first error of any thread.
class DecodeRun {
 public:
  DecodeRun(const std::vector<PackedTensorBytes*>& tensors, int threads)
      : tensors_(tensors), threads_(threads) {
    for (size_t t = 0; t < tensors.size(); ++t) {
      for (size_t c = 0; c < tensors[t]->info->chunks.size(); ++c) chunks_.emplace_back(t, c);
    }
  }

  void operator()() {
    std::vector<std::optional<ChunkDecoder>> decoders(tensors_.size());
    ParallelFor(tensors_.size(), threads_, [&](size_t t) {
      auto decoder =
          ChunkDecoder::Create(*tensors_[t]->info, tensors_[t]->side(), tensors_[t]->codec);
      if (!decoder.ok()) return Fail(*tensors_[t], decoder.status());
      decoders[t] = std::move(*decoder);
    });
    if (!status_.ok()) return;
    ParallelFor(chunks_.size(), threads_, [&](size_t i) {
      const auto [t, chunk] = chunks_[i];
      PackedTensorBytes& tensor = *tensors_[t];
      const Status status =
          decoders[t]->Decode(chunk, tensor.chunk(chunk), tensor.decoded.mutable_span());
      if (!status.ok()) Fail(tensor, status.WithContext("chunk " + std::to_string(chunk)));
    });
  }

  [[nodiscard]] const Status& status() const { return status_; }

 private:
  void Fail(const PackedTensorBytes& tensor, const Status& status) {
    const std::lock_guard lock(mutex_);
    if (status_.ok()) status_ = status.WithContext("tensor '" + tensor.info->name + "'");
  }

  const std::vector<PackedTensorBytes*>& tensors_;
  const int threads_;
  std::vector<std::pair<size_t, size_t>> chunks_;  // tensor, chunk
  std::mutex mutex_;
  Status status_;
};

}  // namespace

uint64_t PackedTensorBytes::begin() const {
  return info->side() != nullptr ? info->side()->offset : info->chunks.front().offset;
}

ByteSpan PackedTensorBytes::chunk(size_t number) const {
  const Chunk& c = info->chunks[number];
  return stored.span().subspan(c.offset - begin(), c.size);
}

ByteSpan PackedTensorBytes::side() const {
  return info->side() != nullptr ? stored.span().first(info->side()->size) : ByteSpan();
}

Result<std::vector<PackedTensorBytes>> ReadSample(const Loader& loader, uint64_t bytes_a_profile) {
  const Index& index = loader.index();
  std::array<uint64_t, kProfileCount> taken{};
  std::vector<PackedTensorBytes> sample;
  for (size_t number = 0; number < index.tensors.size(); ++number) {
    const TensorInfo& info = index.tensors[number];
    if (!info.supported() || info.chunks.empty()) continue;
    uint64_t& bytes = taken[info.profile_value];
    if (bytes != 0 && bytes + info.decoded_bytes() > bytes_a_profile) continue;
    bytes += info.decoded_bytes();
    PackedTensorBytes tensor;
    tensor.info = &info;
    NWC_ASSIGN_OR_RETURN(tensor.codec, loader.CodecOf(number));
    NWC_RETURN_IF_ERROR(ReadStored(loader, &tensor));
    sample.push_back(std::move(tensor));
  }
  return sample;
}

void TimeRuns(int runs, const std::function<void()>& body, Speed* speed) {
  const double first = SecondsOf(body);
  const int repeats =
      first >= kShortestRun ? 1 : static_cast<int>(std::ceil(kShortestRun / (first + 1e-7)));
  std::vector<double> seconds;
  for (int run = 0; run < runs; ++run) {
    seconds.push_back(SecondsOf([&] {
                        for (int i = 0; i < repeats; ++i) body();
                      }) /
                      repeats);
  }
  std::sort(seconds.begin(), seconds.end());
  const size_t middle = seconds.size() / 2;
  speed->seconds =
      seconds.size() % 2 == 1 ? seconds[middle] : (seconds[middle - 1] + seconds[middle]) / 2;
  speed->fastest_seconds = seconds.front();
}

Speed MeasureHash(const std::vector<PackedTensorBytes>& sample, int runs) {
  Speed speed;
  for (const PackedTensorBytes& t : sample) {
    ++speed.tensors;
    speed.weights += t.info->weights();
    for (const Chunk& c : t.info->chunks) speed.stored_bytes += c.size;
  }
  volatile uint64_t sink = 0;  // keeps the hashing
  const auto hash_all = [&] {
    uint64_t hashes = 0;
    for (const PackedTensorBytes& t : sample) {
      for (size_t c = 0; c < t.info->chunks.size(); ++c) hashes ^= Hash64(t.chunk(c));
    }
    sink = hashes;
  };
  TimeRuns(runs, hash_all, &speed);
  return speed;
}

Result<Speed> MeasureDecode(const std::vector<PackedTensorBytes*>& tensors, int threads, int runs) {
  Speed speed = Count(tensors);
  DecodeRun run(tensors, threads);
  const auto run_unless_failed = [&] {
    if (run.status().ok()) run();
  };
  TimeRuns(runs, run_unless_failed, &speed);
  if (!run.status().ok()) return run.status();
  return speed;
}

}  // namespace nwc
