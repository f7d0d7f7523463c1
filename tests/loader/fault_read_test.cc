// Reads that fail, are interrupted or come short; files that are replaced while open. After each:
// the right error or the right bytes, nothing left open, and the next load works.
#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <set>
#include <thread>

#include "loader/loader.h"
#include "tests/loader/container_builder.h"
#include "tests/support/system_faults.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;
using std::chrono::steady_clock;

size_t CountEntries(const char* folder) {
  const fs::directory_iterator entries(folder);
  return static_cast<size_t>(std::distance(begin(entries), end(entries)));
}

class FaultyReads : public testing::TestWithParam<IoMode> {
 protected:
  void SetUp() override {
    AddMixedTensors(&builder_);
    bytes_ = builder_.Finish();
    file_ = std::make_unique<TemporaryFile>(bytes_);
    LoadOptions options;
    options.io = GetParam();
    if (!Loader::Open(file_->path(), options).ok()) {
      GTEST_SKIP() << IoModeName(options.io) << " is refused here";
    }
    EXPECT_TRUE(OpenAndLoadAll().ok());  // whatever is made once is there from now on
    descriptors_ = CountEntries("/proc/self/fd");
    threads_ = CountEntries("/proc/self/task");
  }

  // Nothing is left of a load.
  void ExpectNothingLeft() const {
    EXPECT_EQ(CountEntries("/proc/self/fd"), descriptors_);
    // A thread that was joined is listed for a moment longer.
    const auto latest = steady_clock::now() + std::chrono::seconds(10);
    while (CountEntries("/proc/self/task") > threads_ && steady_clock::now() < latest) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_LE(CountEntries("/proc/self/task"), threads_);
  }

  // Many small reads.
  [[nodiscard]] LoadOptions Options() const {
    LoadOptions options;
    options.io = GetParam();
    options.threads = 2;
    options.staging_bytes = 40000;
    return options;
  }

  Status LoadAll(const Loader& loader) const {
    size_t right = 0;
    const Status status = loader.Stream(loader.All(), [&](Tensor tensor) -> Status {
      right += BytesOf(tensor) == builder_.expected(tensor.number) ? 1 : 0;
      return {};
    });
    if (status.ok()) {
      EXPECT_EQ(right, builder_.count());
    }
    return status;
  }

  [[nodiscard]] Status OpenAndLoadAll() const {
    const auto loader = Loader::Open(file_->path(), Options());
    return loader.ok() ? LoadAll(**loader) : loader.status();
  }

  static void ExpectMentions(const Status& status, const std::string& what) {
    EXPECT_NE(status.message().find(what), std::string::npos) << what << ": " << status.ToString();
  }

  ContainerBuilder builder_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<TemporaryFile> file_;
  size_t descriptors_ = 0, threads_ = 0;
};

TEST_P(FaultyReads, InterruptedReadsGoOn) {
  for (const int error : {EINTR, EAGAIN}) {
    for (const size_t passes_every : {2u, 5u}) {
      const FaultScope fault({.error = error, .passes_every = passes_every});
      const Status status = OpenAndLoadAll();
      EXPECT_TRUE(status.ok()) << status.ToString();
      EXPECT_GT(fault.hits(), 20u);
    }
  }
  ExpectNothingLeft();
}

TEST_P(FaultyReads, ShortReadsGoOn) {
  for (const size_t most_bytes : {size_t{777}, size_t{4096}}) {
    const FaultScope fault({.most_bytes = most_bytes});
    const Status status = OpenAndLoadAll();
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_GT(fault.hits(), 20u);
  }
  ExpectNothingLeft();
}

TEST_P(FaultyReads, ReadsThatOnlyEverAskToTryAgainEnd) {
  const auto loader = Loader::Open(file_->path(), Options());
  ASSERT_TRUE(loader.ok());
  for (const int error : {EAGAIN, EINTR}) {
    const auto begun = steady_clock::now();
    {
      const FaultScope fault({.error = error, .first = 3});
      const Status status = LoadAll(**loader);
      EXPECT_EQ(status.code(), ErrorCode::kIo);
      ExpectMentions(status, file_->path() + ": cannot read at byte ");
      ExpectMentions(status, "(reading tensor");
    }
    EXPECT_LT(steady_clock::now() - begun, std::chrono::seconds(30));
    EXPECT_TRUE(LoadAll(**loader).ok());
  }
}

// Opening reads superblock and index with pread; then come the tensors.
TEST_P(FaultyReads, ABadSectorAtAnyReadIsNamedAndTheNextLoadWorks) {
  constexpr size_t kQuietRounds = 8;  // a completion that comes late is not hit: not the end yet
  std::set<std::string> named;
  size_t failures = 0, quiet = 0;
  for (size_t number = 0; quiet < kQuietRounds; ++number) {
    Status status;
    {
      const FaultScope fault({.error = EIO, .first = number, .count = 1});
      status = OpenAndLoadAll();
      quiet = fault.hits() == 0 ? quiet + 1 : 0;
    }
    if (quiet > 0) {
      EXPECT_TRUE(status.ok()) << status.ToString();
      continue;
    }
    ++failures;
    ASSERT_EQ(status.code(), ErrorCode::kIo) << number;
    ExpectMentions(status, file_->path() + ": cannot read at byte ");
    ExpectMentions(status, "Input/output error");
    if (number == 1) ExpectMentions(status, "(reading the index)");
    if (number >= 2) ExpectMentions(status, "(reading tensor");
    for (const TensorInfo& tensor : builder_.index().tensors) {
      if (status.message().find("'" + tensor.name + "'") != std::string::npos) {
        named.insert(tensor.name);
      }
    }
    ExpectNothingLeft();
    EXPECT_TRUE(OpenAndLoadAll().ok());
  }
  EXPECT_GT(failures, 20u);
  EXPECT_GT(named.size(), 3u);
}

TEST_P(FaultyReads, ABadSectorUnderOneTensorLeavesTheOthers) {
  const auto loader = Loader::Open(file_->path(), Options());
  ASSERT_TRUE(loader.ok());
  {
    const FaultScope fault({.error = EIO});
    const Status status = (*loader)->Load("layers.0.v.weight").status();
    EXPECT_EQ(status.code(), ErrorCode::kIo);
    ExpectMentions(status, "(reading tensor 'layers.0.v.weight')");
    const Status metadata = (*loader)->LoadFile(0).status();
    EXPECT_EQ(metadata.code(), ErrorCode::kIo);
    ExpectMentions(metadata, "(reading file 'config.json')");
  }
  EXPECT_TRUE((*loader)->Load("layers.0.v.weight").ok());
  EXPECT_TRUE((*loader)->LoadFile(0).ok());
}

TEST_P(FaultyReads, ASubmissionThatIsInterruptedGoesOn) {
  if (GetParam() == IoMode::kPread) GTEST_SKIP() << "pread submits nothing";
  for (const int error : {EINTR, EAGAIN, EBUSY}) {
    const FaultScope fault({.call = SystemCall::kSubmit, .error = error, .passes_every = 3});
    const Status status = OpenAndLoadAll();
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_GT(fault.hits(), 5u);
  }
  ExpectNothingLeft();
}

TEST_P(FaultyReads, AFileReplacedOrRemovedWhileOpenIsReadToItsEnd) {
  ContainerBuilder other;
  other.AddScalar("x");
  const TemporaryFile replacement(other.Finish());
  const auto loader = Loader::Open(file_->path(), Options());
  ASSERT_TRUE(loader.ok());
  ASSERT_TRUE((*loader)->Load(size_t{0}).ok());
  ASSERT_EQ(std::rename(replacement.path().c_str(), file_->path().c_str()), 0);
  EXPECT_TRUE(LoadAll(**loader).ok());
  const auto fresh = Loader::Open(file_->path(), Options());
  ASSERT_TRUE(fresh.ok());
  EXPECT_EQ((*fresh)->index().tensors.size(), 1u);
  ASSERT_EQ(std::remove(file_->path().c_str()), 0);
  EXPECT_TRUE(LoadAll(**loader).ok());
  EXPECT_TRUE((*fresh)->Load("x").ok());
}

// The same size afterwards, so no read ends early: the hashes find it.
TEST_P(FaultyReads, AFileOverwrittenInPlaceIsCorrupt) {
  const auto loader = Loader::Open(file_->path(), Options());
  ASSERT_TRUE(loader.ok());
  file_->Truncate(8192);
  file_->Truncate(bytes_.size());
  const Status status = LoadAll(**loader);
  EXPECT_EQ(status.code(), ErrorCode::kCorrupt);
  ExpectMentions(status, file_->path() + ": tensor '");
}

INSTANTIATE_TEST_SUITE_P(Readers, FaultyReads,
                         testing::Values(IoMode::kPread, IoMode::kUring, IoMode::kDirect),
                         [](const auto& io) { return std::string(IoModeName(io.param)); });

}  // namespace
}  // namespace nwc
