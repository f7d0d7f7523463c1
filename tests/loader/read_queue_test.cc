#include "loader/read_queue.h"

#include <gtest/gtest.h>

#include <random>

#include "loader/aligned_buffer.h"
#include "loader/file_source.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

constexpr size_t kFileBytes = (3 << 20) + 1234;  // ends inside a block

class ReadQueueTest : public testing::TestWithParam<IoMode> {
 protected:
  void SetUp() override {
    std::mt19937 rng(3);
    for (uint8_t& b : content_) b = static_cast<uint8_t>(rng());
    file_ = std::make_unique<TemporaryFile>(content_);
    auto source = FileSource::Open(file_->path());
    ASSERT_TRUE(source.ok());
    source_ = std::move(*source);
    auto choice = ChooseIo(*source_, GetParam());
    if (!choice.ok()) GTEST_SKIP() << choice.status().ToString();
    choice_ = std::move(*choice);
    ASSERT_EQ(choice_.mode, GetParam());
  }

  std::unique_ptr<ReadQueue> Queue(size_t depth, MutableByteSpan staging) {
    const IoChoice* const choices[] = {&choice_};
    auto queue = ReadQueue::Create(choices, depth, staging);
    EXPECT_TRUE(queue.ok()) << queue.status().ToString();
    EXPECT_EQ((*queue)->uses_uring(), choice_.uses_uring());
    return std::move(*queue);
  }

  // Reads the whole file in steps of `step` and expects its bytes.
  void ExpectReadsAll(MutableByteSpan staging, bool staged, size_t step) {
    std::fill(staging.begin(), staging.end(), uint8_t{0});
    const auto queue = Queue(8, staged ? staging : MutableByteSpan());
    std::vector<bool> done;
    size_t at = 0;
    while (at < kFileBytes || queue->in_flight() > 0) {
      if (at < kFileBytes && queue->has_room()) {
        const size_t size = std::min<size_t>(kFileBytes - at, step);
        queue->Submit({choice_.from, at, staging.subspan(at, size), done.size()});
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
    EXPECT_TRUE(std::equal(staging.begin(), staging.end(), content_.begin()));
  }

  std::vector<uint8_t> content_ = std::vector<uint8_t>(kFileBytes);
  std::unique_ptr<TemporaryFile> file_;
  std::unique_ptr<FileSource> source_;
  IoChoice choice_;
};

TEST_P(ReadQueueTest, ManyReadsGiveTheFilesBytes) {
  auto staging = AlignedBuffer::Allocate(kFileBytes, kDirectBlock);
  ASSERT_TRUE(staging.ok());
  for (const bool staged : {true, false}) {
    for (const size_t step : {100003u, 1u << 16, 1u << 20}) {
      ExpectReadsAll(staging->mutable_span(), staged, step);
    }
  }
}

TEST_P(ReadQueueTest, AReadPastTheEndFailsAlone) {
  std::vector<uint8_t> staging(2000);
  const auto queue = Queue(2, staging);
  queue->Submit({choice_.from, kFileBytes - 500, MutableByteSpan(staging).first(1000), 1});
  queue->Submit({choice_.from, 0, MutableByteSpan(staging).last(1000), 2});
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
  for (size_t i = 0; i < 16; ++i) {
    queue->Submit({choice_.from, i * 1000, MutableByteSpan(staging).subspan(i * 1000, 1000), i});
  }
  EXPECT_TRUE(queue->Drain());
}

INSTANTIATE_TEST_SUITE_P(Readers, ReadQueueTest,
                         testing::Values(IoMode::kUring, IoMode::kDirect, IoMode::kPread,
                                         IoMode::kMmap),
                         [](const auto& mode) { return std::string(IoModeName(mode.param)); });

}  // namespace
}  // namespace nwc
