#include "loader/mapped_source.h"

#include <gtest/gtest.h>

#include <random>

#include "loader/file_source.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

constexpr size_t kFileBytes = 50 * 4096 + 100;

class MappedSourceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::mt19937 rng(5);
    for (uint8_t& b : content_) b = static_cast<uint8_t>(rng());
    file_ = std::make_unique<TemporaryFile>(content_);
    auto source = FileSource::Open(file_->path());
    ASSERT_TRUE(source.ok()) << source.status().ToString();
    source_ = std::move(*source);
    auto mapped = MappedSource::Map(*source_);
    if (!mapped.ok()) GTEST_SKIP() << mapped.status().ToString();
    mapped_ = std::move(*mapped);
  }

  void ExpectReads(size_t offset, size_t size) {
    std::vector<uint8_t> part(size);
    const Status status = mapped_->Read(offset, part);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE(std::equal(part.begin(), part.end(), content_.begin() + static_cast<long>(offset)));
  }

  void ExpectEndsAt(size_t end, size_t offset, size_t size) {
    std::vector<uint8_t> part(size);
    const Status status = mapped_->Read(offset, part);
    EXPECT_EQ(status.code(), ErrorCode::kIo);
    EXPECT_EQ(status.message(), file_->path() + ": ends at byte " + std::to_string(end) +
                                    ", expected " + std::to_string(offset + size) +
                                    ": truncated or replaced while open");
  }

  std::vector<uint8_t> content_ = std::vector<uint8_t>(kFileBytes);
  std::unique_ptr<TemporaryFile> file_;
  std::unique_ptr<FileSource> source_;
  std::unique_ptr<MappedSource> mapped_;
};

TEST_F(MappedSourceTest, ReadsRanges) {
  EXPECT_EQ(mapped_->size(), kFileBytes);
  EXPECT_EQ(mapped_->name(), file_->path());
  for (const size_t offset : {size_t{0}, size_t{1}, size_t{4096}, size_t{5000}}) {
    ExpectReads(offset, 0);
    ExpectReads(offset, 1);
    ExpectReads(offset, 4096);
    ExpectReads(offset, kFileBytes - offset);
  }
  ExpectEndsAt(kFileBytes, kFileBytes - 5, 6);
}

TEST_F(MappedSourceTest, AFileTruncatedWhileMappedIsAnErrorAndNoSignal) {
  ExpectReads(0, kFileBytes);
  file_->Truncate(10 * 4096);
  ExpectReads(0, 10 * 4096);
  ExpectEndsAt(10 * 4096, 10 * 4096, 100);
  ExpectEndsAt(10 * 4096, 8 * 4096, kFileBytes - 8 * 4096);
  file_->Truncate(0);
  ExpectEndsAt(0, 0, 1);
}

// The rest of the page reads as zeros.
TEST_F(MappedSourceTest, AnEndInsideAPageIsNoticed) {
  file_->Truncate(4096 + 10);
  ExpectReads(4096, 10);
  ExpectEndsAt(4096 + 10, 4096, 11);
}

TEST_F(MappedSourceTest, AnEmptyFileHasNothing) {
  file_->Truncate(0);
  const auto source = FileSource::Open(file_->path());
  ASSERT_TRUE(source.ok());
  const auto mapped = MappedSource::Map(**source);
  ASSERT_TRUE(mapped.ok()) << mapped.status().ToString();
  EXPECT_TRUE((*mapped)->Read(0, {}).ok());
}

}  // namespace
}  // namespace nwc
