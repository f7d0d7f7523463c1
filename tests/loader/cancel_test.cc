// Loads that are cancelled: from another thread, from a callback, before they begin, while a source
// hangs. Threads and memory are gone when Stream returns, and the loader works on.
#include <gtest/gtest.h>
#include <malloc.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "loader/memory_source.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Each read of payload takes its time; with `hangs` until it is told to stop.
class SlowSource : public MemorySource {
 public:
  SlowSource(std::vector<uint8_t> bytes, const std::atomic<int>* delay_ms, std::atomic<int>* reads)
      : MemorySource("(slow)", std::move(bytes)), delay_ms_(delay_ms), reads_(reads) {}

  Status ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                           const std::atomic<bool>& stop) const override {
    ++*reads_;
    const auto end = steady_clock::now() + milliseconds(delay_ms_->load());
    while (steady_clock::now() < end) {
      if (hangs() && stop) return Status(ErrorCode::kCancelled, "stopped");
      std::this_thread::sleep_for(milliseconds(1));
    }
    return Read(offset, destination);
  }
  [[nodiscard]] ReadTraits traits() const override {
    ReadTraits traits;
    traits.joined_bytes = 1000;
    return traits;
  }
  // Reads that take long can be given up, short ones not.
  [[nodiscard]] bool hangs() const { return *delay_ms_ >= 1000; }

 private:
  const std::atomic<int>* delay_ms_;
  std::atomic<int>* reads_;
};

size_t ThreadCount() {
  const auto tasks = std::filesystem::directory_iterator("/proc/self/task");
  return static_cast<size_t>(std::distance(begin(tasks), end(tasks)));
}

size_t AllocatedBytes() {
  const auto facts = mallinfo2();
  return facts.hblkhd + facts.uordblks;
}

class CancelTest : public testing::Test {
 protected:
  void SetUp() override {
    builder_.AddFile("config.json", "{}");
    for (int i = 0; i < 4; ++i) {
      builder_.AddStream("t" + std::to_string(i), DType::kBF16, {1024, 128, 64, 32});
    }
    bytes_ = builder_.Finish();
    auto loader =
        Loader::OpenSource(std::make_unique<SlowSource>(bytes_, &delay_ms_, &reads_), options_);
    ASSERT_TRUE(loader.ok()) << loader.status().ToString();
    loader_ = std::move(*loader);
    ExpectLoadsEverything();  // from now on it has its tables
    reads_ = 0;
  }

  void ExpectLoadsEverything() {
    delay_ms_ = 0;
    size_t right = 0;
    const Status status = loader_->Stream(loader_->All(), [&](Tensor tensor) -> Status {
      right += BytesOf(tensor) == builder_.expected(tensor.number) ? 1 : 0;
      return {};
    });
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(right, 4u);
  }

  // Cancels from another thread a while after reading began; the time from then to Stream's return.
  milliseconds CancelAfter(milliseconds wait, LoadStatistics* statistics) {
    const size_t threads_before = ThreadCount(), bytes_before = AllocatedBytes();
    std::atomic<bool> cancel = false;
    steady_clock::time_point cancelled;
    std::thread other([&] {
      const auto latest = steady_clock::now() + std::chrono::seconds(60);
      while (reads_ == 0 && steady_clock::now() < latest) {
        std::this_thread::sleep_for(milliseconds(1));
      }
      std::this_thread::sleep_for(wait);
      cancelled = steady_clock::now();
      cancel = true;
    });
    const Status status = loader_->Stream(
        loader_->All(), [](Tensor) { return Status(); }, statistics, &cancel);
    const auto end = steady_clock::now();
    other.join();
    EXPECT_EQ(status.code(), ErrorCode::kCancelled) << status.ToString();
    EXPECT_NE(status.message().find("(slow)"), std::string::npos) << status.ToString();
    EXPECT_EQ(ThreadCount(), threads_before);
    EXPECT_LT(AllocatedBytes(), bytes_before + (64 << 10));
    return std::chrono::duration_cast<milliseconds>(end - cancelled);
  }

  LoadOptions options_;
  ContainerBuilder builder_;
  std::vector<uint8_t> bytes_;
  std::atomic<int> delay_ms_ = 0, reads_ = 0;
  std::unique_ptr<Loader> loader_;
};

TEST_F(CancelTest, ASlowLoadEndsSoon) {
  delay_ms_ = 30;
  LoadStatistics statistics;
  const milliseconds took = CancelAfter(milliseconds(100), &statistics);
  EXPECT_LT(took, milliseconds(1000));
  EXPECT_GT(reads_, 0);
  EXPECT_LT(reads_, 40);  // of more than a hundred
  EXPECT_GT(statistics.bytes_read, 0u);
  EXPECT_LT(statistics.bytes_read, bytes_.size() / 2);
  ExpectLoadsEverything();
  EXPECT_GT(reads_, 100);
}

TEST_F(CancelTest, ASourceThatHangsIsToldToStop) {
  delay_ms_ = 60000;
  LoadStatistics statistics;
  EXPECT_LT(CancelAfter(milliseconds(30), &statistics), milliseconds(5000));
  ExpectLoadsEverything();
}

TEST_F(CancelTest, ACallbackMayCancel) {
  std::atomic<bool> cancel = false;
  int calls = 0;
  const auto ready = [&](Tensor) -> Status {
    ++calls;
    cancel = true;
    return {};
  };
  EXPECT_EQ(loader_->Stream(loader_->All(), ready, nullptr, &cancel).code(), ErrorCode::kCancelled);
  EXPECT_EQ(calls, 1);
  ExpectLoadsEverything();
}

TEST_F(CancelTest, CancelledBeforeItBeginsNothingIsRead) {
  const std::atomic<bool> cancel = true;
  LoadStatistics statistics;
  const Status status = loader_->Stream(
      loader_->All(), [](Tensor) { return Status(); }, &statistics, &cancel);
  EXPECT_EQ(status.code(), ErrorCode::kCancelled);
  EXPECT_EQ(reads_, 0);
  EXPECT_EQ(statistics.reads, 0u);
}

TEST_F(CancelTest, LoadsOfOneTensorOrSliceEndToo) {
  delay_ms_ = 60000;
  for (const TensorSlice& slice : {TensorSlice{}, TensorSlice{.row_begin = 100, .row_end = 900}}) {
    std::atomic<bool> cancel = false;
    std::thread other([&] {
      std::this_thread::sleep_for(milliseconds(30));
      cancel = true;
    });
    const auto begun = steady_clock::now();
    const auto tensor = loader_->Load("t1", slice, &cancel);
    EXPECT_LT(steady_clock::now() - begun, milliseconds(5000));
    other.join();
    EXPECT_EQ(tensor.status().code(), ErrorCode::kCancelled) << tensor.status().ToString();
  }
  ExpectLoadsEverything();
}

TEST_F(CancelTest, RangesAndMetadataFilesEndToo) {
  delay_ms_ = 60000;
  for (const bool file : {false, true}) {
    std::atomic<bool> cancel = false;
    std::thread other([&] {
      std::this_thread::sleep_for(milliseconds(30));
      cancel = true;
    });
    AlignedBuffer buffer;
    const Status status = file ? loader_->LoadFile(0, &cancel).status()
                               : loader_->ReadRange(0, bytes_.size(), &buffer, &cancel);
    other.join();
    EXPECT_EQ(status.code(), ErrorCode::kCancelled) << status.ToString();
  }
  delay_ms_ = 0;
  AlignedBuffer buffer;
  const Status status = loader_->ReadRange(100, bytes_.size() - 100, &buffer);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(std::equal(bytes_.begin() + 100, bytes_.end(), buffer.data()));
}

TEST_F(CancelTest, AFlagThatStaysUnsetChangesNothing) {
  const std::atomic<bool> cancel = false;
  size_t calls = 0;
  const auto ready = [&](Tensor) -> Status {
    ++calls;
    return {};
  };
  const Status status = loader_->Stream(loader_->All(), ready, nullptr, &cancel);
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(calls, 4u);
}

// Wherever it comes, also in the middle of io_uring's reads.
TEST_F(CancelTest, AtAnyMomentAFileEndsCleanly) {
  const TemporaryFile file(bytes_);
  for (const IoMode io : {IoMode::kPread, IoMode::kUring, IoMode::kDirect, IoMode::kMmap}) {
    options_.io = io;
    options_.threads = 2;
    options_.staging_bytes = 20000;
    const auto loader = Loader::Open(file.path(), options_);
    ASSERT_TRUE(loader.ok()) << loader.status().ToString();
    const size_t threads_before = ThreadCount();
    for (int round = 0; round < 40; ++round) {
      std::atomic<bool> cancel = false;
      std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::microseconds(100 * round));
        cancel = true;
      });
      size_t wrong = 0;
      const auto ready = [&](Tensor tensor) -> Status {
        wrong += BytesOf(tensor) == builder_.expected(tensor.number) ? 0 : 1;
        return {};
      };
      const Status status = (*loader)->Stream((*loader)->All(), ready, nullptr, &cancel);
      other.join();
      EXPECT_TRUE(status.ok() || status.code() == ErrorCode::kCancelled) << status.ToString();
      EXPECT_EQ(wrong, 0u);
    }
    EXPECT_EQ(ThreadCount(), threads_before);
  }
}

}  // namespace
}  // namespace nwc
