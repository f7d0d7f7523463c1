#include "loader/read_range.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>

#include "loader/file_source.h"
#include "loader/memory_source.h"
#include "loader/read_queue.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

constexpr size_t kBytes = (5 << 20) + 77;

std::vector<uint8_t> RandomBytes() {
  std::mt19937 rng(9);
  std::vector<uint8_t> bytes(kBytes);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
  return bytes;
}

// A read waits until another one has begun, at most for ten seconds all in all.
class MeetingSource : public MemorySource {
 public:
  explicit MeetingSource(std::vector<uint8_t> bytes)
      : MemorySource("(meeting)", std::move(bytes)) {}
  Status ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                           const std::atomic<bool>& /*stop*/) const override {
    std::unique_lock lock(mutex_);
    met_ = ++inside_ > 1 || met_;
    met_changed_.notify_all();
    met_changed_.wait_until(lock, end_, [this] { return met_; });
    --inside_;
    return Read(offset, destination);
  }
  [[nodiscard]] bool met() const { return met_; }

 private:
  const std::chrono::steady_clock::time_point end_ =
      std::chrono::steady_clock::now() + std::chrono::seconds(10);
  mutable std::mutex mutex_;
  mutable std::condition_variable met_changed_;
  mutable int inside_ = 0;
  mutable bool met_ = false;
};

void ExpectReads(const IoChoice& io, uint64_t offset, uint64_t size,
                 const std::vector<uint8_t>& content, AlignedBuffer* buffer) {
  const Status status = ReadRange(io, io.from, offset, size, buffer, nullptr);
  ASSERT_TRUE(status.ok()) << status.ToString();
  ASSERT_GE(buffer->size(), size);
  EXPECT_TRUE(std::equal(buffer->data(), buffer->data() + size,
                         content.begin() + static_cast<ptrdiff_t>(offset)));
}

TEST(ReadRangeTest, ReadsSeveralPartsAtOnce) {
  const auto content = RandomBytes();
  const MeetingSource source(content);
  const auto io = ChooseIo(source, IoMode::kAuto);
  ASSERT_TRUE(io.ok());
  AlignedBuffer buffer;
  ExpectReads(*io, 0, kBytes, content, &buffer);
  EXPECT_TRUE(source.met());
}

TEST(ReadRangeTest, GivesTheBytesInEveryMode) {
  const auto content = RandomBytes();
  const TemporaryFile file(content);
  const auto source = FileSource::Open(file.path());
  ASSERT_TRUE(source.ok());
  for (const IoMode mode :
       {IoMode::kAuto, IoMode::kUring, IoMode::kDirect, IoMode::kPread, IoMode::kMmap}) {
    SCOPED_TRACE(IoModeName(mode));
    const auto io = ChooseIo(**source, mode);
    if (!io.ok()) continue;  // refused here
    AlignedBuffer buffer;
    ExpectReads(*io, 4096, 0, content, &buffer);
    for (const uint64_t offset : {0u, 4096u, 4097u}) {
      ExpectReads(*io, offset, 5000, content, &buffer);
      ExpectReads(*io, offset, kBytes - offset, content, &buffer);
    }
    const Status status = ReadRange(*io, io->from, 8192, kBytes, &buffer, nullptr);
    EXPECT_EQ(status.code(), ErrorCode::kIo);
    EXPECT_NE(status.message().find("ends at byte"), std::string::npos) << status.ToString();
  }
}

TEST(ReadQueueOfSeveral, ASourceWithoutADescriptorTakesAllToThreads) {
  const auto content = RandomBytes();
  const TemporaryFile file(content);
  const auto opened = FileSource::Open(file.path());
  ASSERT_TRUE(opened.ok());
  const MemorySource memory("m", content);
  const auto first = ChooseIo(**opened, IoMode::kAuto), second = ChooseIo(memory, IoMode::kAuto);
  ASSERT_TRUE(first.ok() && second.ok());
  const IoChoice* const choices[] = {&*first, &*second};
  const auto queue = ReadQueue::Create(choices, 4, {});
  ASSERT_TRUE(queue.ok());
  EXPECT_FALSE((*queue)->uses_uring());
  std::vector<uint8_t> bytes(2000);
  (*queue)->Submit({first->from, 500, MutableByteSpan(bytes).first(1000), 0});
  (*queue)->Submit({second->from, 1500, MutableByteSpan(bytes).last(1000), 1});
  for (int i = 0; i < 2; ++i) EXPECT_TRUE((*queue)->Wait().status.ok());
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), content.begin() + 500));
}

}  // namespace
}  // namespace nwc
