#include "tools/atomic_file.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/tools/temporary_folder.h"

namespace nwc {
namespace {

using Names = std::set<std::string>;

ByteSpan Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class AtomicFileTest : public testing::Test {
 protected:
  [[nodiscard]] std::unique_ptr<AtomicFile> Create(bool overwrite = false) const {
    auto file = AtomicFile::Create(folder_.Path("out"), overwrite);
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file.ok() ? std::move(*file) : nullptr;
  }
  [[nodiscard]] Status CreateError(const std::string& name, bool overwrite = false) const {
    const auto file = AtomicFile::Create(folder_.Path(name), overwrite);
    EXPECT_FALSE(file.ok());
    return file.ok() ? Status() : file.status();
  }
  static std::string OwnTemporary() { return "out.tmp-" + std::to_string(getpid()); }

  // The number of a process that is dead and gone.
  static pid_t DeadProcess() {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    waitpid(child, nullptr, 0);
    return child;
  }

  TemporaryFolder folder_;
};

TEST_F(AtomicFileTest, CommitPutsTheFirstBytes) {
  const auto file = Create();
  ASSERT_TRUE(file->Append(Bytes("....")).ok());
  ASSERT_TRUE(file->Append(Bytes("rest")).ok());
  EXPECT_EQ(folder_.Names(), Names{OwnTemporary()});
  const Status status = file->Commit(Bytes("head"));
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(folder_.Names(), Names{"out"});
  EXPECT_EQ(folder_.Read("out"), "headrest");
}

TEST_F(AtomicFileTest, PiecesOfAnySizeArriveInOrder) {
  std::string expected;
  const auto file = Create();
  for (const size_t size : {3u, 5u << 20, 1u, 4u << 20, (4u << 20) - 1, 2u, 0u, 9u}) {
    const std::string piece(size, static_cast<char>('a' + expected.size() % 26));
    expected += piece;
    ASSERT_TRUE(file->Append(Bytes(piece)).ok());
  }
  ASSERT_TRUE(file->Commit({}).ok());
  EXPECT_TRUE(folder_.Read("out") == expected);
}

TEST_F(AtomicFileTest, AbandonedFileLeavesNothing) {
  {
    const auto file = Create();
    ASSERT_TRUE(file->Append(Bytes(std::string(5 << 20, 'x'))).ok());
  }
  EXPECT_EQ(folder_.Names(), Names());
}

TEST_F(AtomicFileTest, ExistingFileIsRefusedAtOnce) {
  folder_.Write("out", "old");
  EXPECT_EQ(CreateError("out").code(), ErrorCode::kUsage);
  EXPECT_EQ(folder_.Names(), Names{"out"});
}

TEST_F(AtomicFileTest, FileThatAppearsMeanwhileIsNotReplaced) {
  {
    const auto file = Create();
    ASSERT_TRUE(file->Append(Bytes("new")).ok());
    folder_.Write("out", "old");
    EXPECT_EQ(file->Commit({}).code(), ErrorCode::kUsage);
  }
  EXPECT_EQ(folder_.Read("out"), "old");
  EXPECT_EQ(folder_.Names(), Names{"out"});
}

TEST_F(AtomicFileTest, OverwriteReplacesOnlyAtCommit) {
  folder_.Write("out", "old");
  const auto file = Create(true);
  ASSERT_TRUE(file->Append(Bytes("new")).ok());
  EXPECT_EQ(folder_.Read("out"), "old");
  ASSERT_TRUE(file->Commit({}).ok());
  EXPECT_EQ(folder_.Read("out"), "new");
}

TEST_F(AtomicFileTest, NothingButRegularFilesIsReplaced) {
  std::filesystem::create_directory(folder_.Path("folder"));
  EXPECT_NE(CreateError("folder", true).message().find("is a folder"), std::string::npos);
  ASSERT_EQ(mkfifo(folder_.Path("pipe").c_str(), 0600), 0);
  EXPECT_EQ(CreateError("pipe", true).code(), ErrorCode::kUsage);
  EXPECT_EQ(CreateError("missing/out", true).code(), ErrorCode::kUsage);
  EXPECT_EQ(CheckOutputPath("", true).code(), ErrorCode::kUsage);
  EXPECT_EQ(CheckOutputPath("folder/", true).code(), ErrorCode::kUsage);
}

TEST_F(AtomicFileTest, LeftoversOfDeadProcessesGo) {
  const std::string dead = "out.tmp-" + std::to_string(DeadProcess());
  const std::string alive = "out.tmp-" + std::to_string(getppid());
  for (const std::string& name :
       {dead, alive, OwnTemporary(), std::string("out.tmp-12x"), "other" + dead.substr(3)}) {
    folder_.Write(name, "left");
  }
  const auto file = Create();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(folder_.Names(),
            (Names{alive, OwnTemporary(), "out.tmp-12x", "other" + dead.substr(3)}));
  EXPECT_EQ(folder_.Read(OwnTemporary()), "");
}

TEST_F(AtomicFileTest, OneWriterAtATime) {
  const auto file = Create();
  EXPECT_EQ(CreateError("out").code(), ErrorCode::kUsage);
  ASSERT_TRUE(file->Append(Bytes("x")).ok());
  EXPECT_TRUE(file->Commit({}).ok());
}

TEST_F(AtomicFileTest, RemoveAllTemporariesRemovesWhatIsOpen) {
  const auto first = Create();
  const auto second = AtomicFile::Create(folder_.Path("more"), false);
  ASSERT_TRUE(second.ok());
  ASSERT_TRUE(first->Append(Bytes("x")).ok());
  AtomicFile::RemoveAllTemporaries();
  EXPECT_EQ(folder_.Names(), Names());
  EXPECT_FALSE(first->Commit({}).ok());
  EXPECT_EQ(folder_.Names(), Names());
}

TEST_F(AtomicFileTest, CommittedFileIsNoTemporary) {
  const auto file = Create();
  ASSERT_TRUE(file->Append(Bytes("x")).ok());
  ASSERT_TRUE(file->Commit({}).ok());
  AtomicFile::RemoveAllTemporaries();
  EXPECT_EQ(folder_.Names(), Names{"out"});
  EXPECT_EQ(file->Append(Bytes("x")).code(), ErrorCode::kInternal);
  EXPECT_EQ(file->Commit({}).code(), ErrorCode::kInternal);
}

TEST_F(AtomicFileTest, MoreFirstBytesThanContentIsOurBug) {
  const auto file = Create();
  ASSERT_TRUE(file->Append(Bytes("x")).ok());
  EXPECT_EQ(file->Commit(Bytes("xy")).code(), ErrorCode::kInternal);
}

TEST_F(AtomicFileTest, WriteThatFailsNamesThePathAndLeavesNothing) {
  // A limit on the size of files stands in for a full disk.
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{6 << 20, 6 << 20};
    signal(SIGXFSZ, SIG_IGN);
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(2);
    bool failed_well = false;
    {
      const auto file = AtomicFile::Create(folder_.Path("out"), false);
      if (!file.ok()) _exit(3);
      const Status status = (*file)->Append(Bytes(std::string(8 << 20, 'x')));
      failed_well =
          status.code() == ErrorCode::kIo && status.message().find(folder_.Path("out")) == 0;
    }
    _exit(failed_well ? 0 : 1);
  }
  int result = -1;
  ASSERT_EQ(waitpid(child, &result, 0), child);
  EXPECT_EQ(result, 0);
  EXPECT_EQ(folder_.Names(), Names());
}

}  // namespace
}  // namespace nwc
