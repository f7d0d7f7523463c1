#include "loader/read_queue.h"

#include <gtest/gtest.h>

#include <random>

#include "loader/file_source.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

constexpr size_t kFileBytes = 3 << 20;

class ReadQueueTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    std::mt19937 rng(3);
    for (uint8_t& b : content_) b = static_cast<uint8_t>(rng());
    file_ = std::make_unique<TemporaryFile>(content_);
    auto source = FileSource::Open(file_->path());
    ASSERT_TRUE(source.ok());
    source_ = std::move(*source);
  }

  // Null where the system refuses io_uring.
  std::unique_ptr<ReadQueue> Queue(size_t depth, MutableByteSpan staging) {
    auto queue = ReadQueue::Create(*source_, {GetParam(), false, ""}, depth, staging);
    EXPECT_TRUE(queue.ok()) << queue.status().ToString();
    return (*queue)->uses_uring() == GetParam() ? std::move(*queue) : nullptr;
  }

  std::vector<uint8_t> content_ = std::vector<uint8_t>(kFileBytes);
  std::unique_ptr<TemporaryFile> file_;
  std::unique_ptr<FileSource> source_;
};

TEST_P(ReadQueueTest, ManyReadsGiveTheFilesBytes) {
  std::vector<uint8_t> staging(kFileBytes);
  for (const bool staged : {true, false}) {
    std::fill(staging.begin(), staging.end(), uint8_t{0});
    const auto queue = Queue(8, staged ? MutableByteSpan(staging) : MutableByteSpan());
    if (queue == nullptr) GTEST_SKIP() << "io_uring is refused here";
    std::vector<bool> done;
    size_t at = 0;
    while (at < kFileBytes || queue->in_flight() > 0) {
      if (at < kFileBytes && queue->has_room()) {
        const size_t size = std::min<size_t>(kFileBytes - at, 100003);
        queue->Submit({at, MutableByteSpan(staging).subspan(at, size), done.size()});
        done.push_back(false);
        at += size;
        continue;
      }
      const ReadCompletion completion = queue->Wait();
      ASSERT_TRUE(completion.status.ok()) << completion.status.ToString();
      EXPECT_FALSE(done[completion.tag]);
      done[completion.tag] = true;
    }
    EXPECT_EQ(done, std::vector<bool>(done.size(), true));
    EXPECT_EQ(staging, content_);
  }
}

TEST_P(ReadQueueTest, AReadPastTheEndFailsAlone) {
  std::vector<uint8_t> staging(2000);
  const auto queue = Queue(2, staging);
  if (queue == nullptr) GTEST_SKIP() << "io_uring is refused here";
  queue->Submit({kFileBytes - 500, MutableByteSpan(staging).first(1000), 1});
  queue->Submit({0, MutableByteSpan(staging).last(1000), 2});
  for (int i = 0; i < 2; ++i) {
    const ReadCompletion completion = queue->Wait();
    EXPECT_EQ(completion.status.ok(), completion.tag == 2);
    if (completion.tag == 1) {
      EXPECT_EQ(completion.status.message(),
                file_->path() + ": ends at byte " + std::to_string(kFileBytes) + ", expected " +
                    std::to_string(kFileBytes + 500) + ": truncated or replaced while open");
    }
  }
}

TEST_P(ReadQueueTest, DrainEndsReadsInFlight) {
  std::vector<uint8_t> staging(kFileBytes);
  const auto queue = Queue(16, staging);
  if (queue == nullptr) GTEST_SKIP() << "io_uring is refused here";
  for (size_t i = 0; i < 16; ++i) {
    queue->Submit({i * 1000, MutableByteSpan(staging).subspan(i * 1000, 1000), i});
  }
  EXPECT_TRUE(queue->Drain());
}

INSTANTIATE_TEST_SUITE_P(Readers, ReadQueueTest, testing::Bool(),
                         [](const auto& uring) { return uring.param ? "Uring" : "Pread"; });

}  // namespace
}  // namespace nwc
