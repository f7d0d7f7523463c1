#include "loader/chunk_cache.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "loader/memory_source.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

// A source that counts what is read from it.
class CountingSource : public MemorySource {
 public:
  using MemorySource::MemorySource;
  Status Read(uint64_t offset, MutableByteSpan destination) const override {
    ++reads;
    read_bytes += destination.size();
    return MemorySource::Read(offset, destination);
  }
  mutable std::atomic<uint64_t> reads = 0, read_bytes = 0;
};

class ChunkCacheTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "nwc_cacheXXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::unique_ptr<ChunkCache> Open(uint64_t limit_bytes = 1 << 20) {
    auto cache = ChunkCache::Open(folder_, limit_bytes);
    EXPECT_TRUE(cache.ok()) << cache.status().ToString();
    return std::move(*cache);
  }

  static std::vector<uint8_t> Piece(uint64_t offset, size_t size) {
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(offset * 7 + i * 31);
    return bytes;
  }
  static Extent ExtentOf(uint64_t offset, size_t size) {
    return {offset, size, Hash64(Piece(offset, size))};
  }
  static void Put(ChunkCache* cache, uint64_t offset, size_t size) {
    cache->Put(kRoot, ExtentOf(offset, size), Piece(offset, size));
  }
  static bool Has(const ChunkCache& cache, uint64_t offset, size_t size) {
    std::vector<uint8_t> bytes(size);
    if (!cache.Get(kRoot, ExtentOf(offset, size), bytes)) return false;
    EXPECT_EQ(bytes, Piece(offset, size));
    return true;
  }

  std::vector<fs::path> Pieces() const {
    std::vector<fs::path> paths;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() == ".chunk") paths.push_back(entry.path());
    }
    return paths;
  }
  uint64_t Size() const {
    uint64_t size = 0;
    for (const fs::path& path : Pieces()) size += fs::file_size(path);
    return size;
  }
  static void FlipByte(const fs::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const int byte = file.get();
    file.seekp(0);
    file.put(static_cast<char>(byte ^ 1));
  }
  static void SetAge(const fs::path& path, int minutes) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::minutes(minutes));
  }

  static constexpr Hash128 kRoot = {1, 2};
  fs::path folder_;
};

TEST_F(ChunkCacheTest, WhatWasPutIsThereForOthers) {
  Put(Open().get(), 100, 5000);
  const auto other = Open();
  EXPECT_TRUE(Has(*other, 100, 5000));
  EXPECT_FALSE(Has(*other, 101, 5000));
  std::vector<uint8_t> bytes(5000);
  EXPECT_FALSE(other->Get({1, 3}, ExtentOf(100, 5000), bytes));
}

TEST_F(ChunkCacheTest, TheFolderIsMadeWhereItIsMissing) {
  folder_ /= "a/b";
  Put(Open().get(), 1, 10);
  EXPECT_EQ(Pieces().size(), 1u);
}

TEST_F(ChunkCacheTest, AFolderThatCannotBeIsAnError) {
  std::ofstream(folder_ / "file") << "x";
  const auto cache = ChunkCache::Open(folder_ / "file", 1000);
  EXPECT_EQ(cache.status().code(), ErrorCode::kIo);
  EXPECT_NE(cache.status().message().find("cannot be used as a cache"), std::string::npos);
}

TEST_F(ChunkCacheTest, ADamagedPieceIsDroppedAndMayComeAgain) {
  const auto cache = Open();
  Put(cache.get(), 1, 1000);
  FlipByte(Pieces()[0]);
  EXPECT_FALSE(Has(*cache, 1, 1000));
  EXPECT_TRUE(Pieces().empty());
  Put(cache.get(), 1, 1000);
  EXPECT_TRUE(Has(*cache, 1, 1000));
}

TEST_F(ChunkCacheTest, PiecesOfAnotherSizeOrKindAreDropped) {
  const auto cache = Open();
  Put(cache.get(), 1, 1000);
  const fs::path path = Pieces()[0];
  for (const size_t size : {0u, 999u, 1001u}) {
    Put(cache.get(), 1, 1000);
    fs::resize_file(path, size);
    EXPECT_FALSE(Has(*cache, 1, 1000));
  }
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_FALSE(Has(*cache, 1, 1000));
  fs::create_symlink("/etc/hostname", path);
  EXPECT_FALSE(Has(*cache, 1, 1000));
}

TEST_F(ChunkCacheTest, ItNeverExceedsItsLimitAndTheOldestGoFirst) {
  const auto cache = Open(10'000);
  for (uint64_t i = 0; i < 9; ++i) {
    Put(cache.get(), i, 1000);
    for (const fs::path& path : Pieces()) {
      if (path.filename().string().find("-" + std::to_string(i) + "-") != std::string::npos) {
        SetAge(path, 60 - static_cast<int>(i));
      }
    }
  }
  EXPECT_TRUE(Has(*cache, 0, 1000));  // is the youngest now
  for (uint64_t i = 9; i < 40; ++i) {
    Put(cache.get(), i, 1000);
    EXPECT_LE(Size(), 10'000u);
    EXPECT_TRUE(Has(*cache, i, 1000));
    if (i == 12) {
      EXPECT_TRUE(Has(*cache, 0, 1000));
      EXPECT_FALSE(Has(*cache, 1, 1000));
      EXPECT_TRUE(Has(*cache, 8, 1000));
    }
  }
  EXPECT_GE(Size(), 8000u);
  Put(cache.get(), 99, 10'001);
  EXPECT_FALSE(Has(*cache, 99, 10'001));
}

TEST_F(ChunkCacheTest, ASmallerLimitShrinksWhatIsThere) {
  for (uint64_t i = 0; i < 9; ++i) Put(Open(10'000).get(), i, 1000);
  Put(Open(3000).get(), 20, 1000);
  EXPECT_LE(Size(), 3000u);
}

TEST_F(ChunkCacheTest, ALostSizeIsCountedAgain) {
  for (uint64_t i = 0; i < 9; ++i) Put(Open(10'000).get(), i, 1000);
  fs::remove(folder_ / "lock");
  const auto cache = Open(10'000);
  for (uint64_t i = 20; i < 24; ++i) {
    Put(cache.get(), i, 1000);
    EXPECT_LE(Size(), 10'000u);
  }
}

TEST_F(ChunkCacheTest, LeftoversOfDeadProcessesGo) {
  std::ofstream(folder_ / "1-1.tmp") << "x";
  std::ofstream(folder_ / "2-2.tmp") << "x";
  SetAge(folder_ / "1-1.tmp", 90);
  const auto cache = Open(1500);
  Put(cache.get(), 1, 1000);
  Put(cache.get(), 2, 1000);
  EXPECT_FALSE(fs::exists(folder_ / "1-1.tmp"));
  EXPECT_TRUE(fs::exists(folder_ / "2-2.tmp"));
}

TEST_F(ChunkCacheTest, ManyThreadsAndProcessesShareIt) {
  const auto work = [this](uint64_t seed) {
    const auto cache = Open(50'000);
    for (uint64_t i = 0; i < 200; ++i) {
      const uint64_t piece = (i * 37 + seed * 11) % 80;
      if (!Has(*cache, piece, 1000)) Put(cache.get(), piece, 1000);
    }
  };
  std::vector<pid_t> children;
  for (uint64_t child = 0; child < 2; ++child) {
    const pid_t pid = fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      work(child);
      _exit(HasFailure() ? 1 : 0);
    }
    children.push_back(pid);
  }
  std::vector<std::thread> threads;
  for (uint64_t t = 2; t < 4; ++t) threads.emplace_back(work, t);
  for (std::thread& thread : threads) thread.join();
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_LE(Size(), 50'000u);  // now that nobody changes what is counted
}

class CachedSourceTest : public ChunkCacheTest {
 protected:
  void SetUp() override {
    ChunkCacheTest::SetUp();
    AddMixedTensors(&builder_);
    bytes_ = builder_.Finish();
    source_ = std::make_unique<CountingSource>("test", bytes_);
    superblock_ = *ParseSuperblock(ByteSpan(bytes_).first(kSuperblockSize), bytes_.size());
  }

  CachedSource Cached() {
    return CachedSource(*source_, Open(64 << 20), superblock_, builder_.index());
  }
  // Reads [begin, end), which must be right, and says how many bytes the source was asked for.
  uint64_t Asked(const CachedSource& cached, uint64_t begin, uint64_t end) {
    const uint64_t before = source_->read_bytes;
    std::vector<uint8_t> got(end - begin, 0xEE);
    EXPECT_TRUE(cached.Read(begin, got).ok());
    EXPECT_TRUE(std::equal(got.begin(), got.end(), &bytes_[begin])) << begin << " " << end;
    return source_->read_bytes - before;
  }

  ContainerBuilder builder_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<CountingSource> source_;
  Superblock superblock_;
};

TEST_F(CachedSourceTest, TheSecondReadAsksTheSourceForNothing) {
  const uint64_t begin = kSuperblockSize, end = superblock_.index_offset;
  EXPECT_EQ(Asked(Cached(), begin, end), end - begin);
  EXPECT_EQ(Asked(Cached(), begin, end), 0u);
}

TEST_F(CachedSourceTest, WhatHasNoHashComesFromTheSource) {
  const auto cached = Cached();
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(Asked(cached, 0, 100), 100u);
    EXPECT_EQ(Asked(cached, superblock_.index_offset, bytes_.size()), superblock_.index_size);
    const Chunk& chunk = builder_.index().tensors[5].chunks[6];
    EXPECT_EQ(Asked(cached, chunk.offset + 1, chunk.offset + chunk.size), chunk.size - 1);
    EXPECT_EQ(Asked(cached, chunk.offset, chunk.offset + chunk.size - 1), chunk.size - 1);
  }
  EXPECT_TRUE(Pieces().empty());
}

TEST_F(CachedSourceTest, AnyRangeReadsRight) {
  const auto cached = Cached();
  std::mt19937 rng(5);
  for (int i = 0; i < 300; ++i) {
    const uint64_t begin = rng() % bytes_.size();
    const uint64_t size =
        rng() % std::min<uint64_t>(bytes_.size() - begin + 1, 1 + (rng() % 60'000));
    Asked(cached, begin, begin + size);
    if (i % 10 == 0 && !Pieces().empty()) fs::remove(Pieces()[rng() % Pieces().size()]);
  }
}

TEST_F(CachedSourceTest, OneMissingPieceIsFetchedAlone) {
  const uint64_t begin = kSuperblockSize, end = superblock_.index_offset;
  Asked(Cached(), begin, end);
  const Chunk& chunk = builder_.index().tensors[5].chunks[6];
  for (const fs::path& path : Pieces()) {
    const std::string name = path.filename().string();
    if (name.find("-" + std::to_string(chunk.offset) + "-") != std::string::npos) FlipByte(path);
  }
  const uint64_t reads = source_->reads;
  const uint64_t asked = Asked(Cached(), begin, end);
  EXPECT_GE(asked, chunk.size);
  EXPECT_LE(asked, chunk.size + 2 * kMaxGapBytes);
  EXPECT_EQ(source_->reads, reads + 1);
  EXPECT_EQ(Asked(Cached(), begin, end), 0u);
}

TEST_F(CachedSourceTest, BytesWithAWrongHashStayOutOfTheCache) {
  const Chunk& chunk = builder_.index().tensors[5].chunks[6];
  auto damaged = bytes_;
  damaged[chunk.offset] ^= 1;
  const CountingSource bad("bad", damaged);
  const CachedSource cached(bad, Open(), superblock_, builder_.index());
  std::vector<uint8_t> got(chunk.size);
  ASSERT_TRUE(cached.Read(chunk.offset, got).ok());
  EXPECT_TRUE(Pieces().empty());
}

TEST_F(CachedSourceTest, ReadsPastTheEndFail) {
  const auto cached = Cached();
  std::vector<uint8_t> got(10);
  for (const uint64_t at : {uint64_t{bytes_.size() - 9}, UINT64_MAX}) {
    EXPECT_EQ(cached.Read(at, got).code(), ErrorCode::kIo);
  }
}

}  // namespace
}  // namespace nwc
