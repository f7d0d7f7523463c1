#include "loader/file_source.h"

#include <gtest/gtest.h>

#include "loader/memory_source.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

TEST(FileSource, ReadsRanges) {
  const std::vector<uint8_t> content = {1, 2, 3, 4, 5};
  const TemporaryFile file(content);
  const auto source = FileSource::Open(file.path());
  ASSERT_TRUE(source.ok()) << source.status().ToString();
  EXPECT_EQ((*source)->size(), 5u);
  EXPECT_EQ((*source)->name(), file.path());
  EXPECT_GE((*source)->descriptor(), 0);
  std::vector<uint8_t> part(3);
  ASSERT_TRUE((*source)->Read(1, part).ok());
  EXPECT_EQ(part, (std::vector<uint8_t>{2, 3, 4}));
  EXPECT_TRUE((*source)->Read(5, {}).ok());
}

TEST(FileSource, AnEarlyEndSaysWhere) {
  const TemporaryFile file(std::vector<uint8_t>(100, 7));
  const auto source = FileSource::Open(file.path());
  ASSERT_TRUE(source.ok());
  std::vector<uint8_t> part(60);
  const Status status = (*source)->Read(50, part);
  EXPECT_EQ(status.code(), ErrorCode::kIo);
  EXPECT_EQ(status.message(),
            file.path() + ": ends at byte 100, expected 110: truncated or replaced while open");
}

TEST(MemorySource, ReadsInsideItsBytesOnly) {
  const MemorySource source("m", {1, 2, 3});
  std::vector<uint8_t> part(2);
  ASSERT_TRUE(source.Read(1, part).ok());
  EXPECT_EQ(part, (std::vector<uint8_t>{2, 3}));
  EXPECT_EQ(source.Read(2, part).code(), ErrorCode::kIo);
  EXPECT_EQ(source.Read(UINT64_MAX, part).code(), ErrorCode::kIo);
  EXPECT_EQ(source.descriptor(), -1);
}

}  // namespace
}  // namespace nwc
