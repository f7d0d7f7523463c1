// Which way of reading runs: by option, by environment, by the file, and where the system refuses.
#include "loader/io_choice.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <functional>

#include "loader/file_source.h"
#include "loader/loader.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

class IoChoiceTest : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv("NWC_IO");
    builder_.AddStream("x", DType::kBF16, {300, 200, 64, 64});
    content_ = builder_.Finish();
    file_ = std::make_unique<TemporaryFile>(content_);
  }
  void TearDown() override { unsetenv("NWC_IO"); }

  Result<std::unique_ptr<Loader>> Open(IoMode io) {
    LoadOptions options;
    options.io = io;
    return Loader::Open(file_->path(), options);
  }

  std::string Description(IoMode io) {
    const auto loader = Open(io);
    return loader.ok() ? (*loader)->io_description() : loader.status().ToString();
  }

  bool LoadsRight(IoMode io) {
    const auto loader = Open(io);
    if (!loader.ok()) return false;
    const auto tensor = (*loader)->Load("x");
    return tensor.ok() && BytesOf(*tensor) == builder_.expected(0);
  }

  ContainerBuilder builder_;
  std::vector<uint8_t> content_;
  std::unique_ptr<TemporaryFile> file_;
};

// As container runtimes do it: from here on the call fails with `error` in this process.
bool Refuse(std::vector<sock_filter> rules) {
  rules.insert(rules.begin(), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)));
  rules.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  const sock_fprog filter{static_cast<unsigned short>(rules.size()), rules.data()};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

bool RefuseCall(unsigned number) {
  return Refuse({BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)});
}

// As a file system that does not know it.
bool RefuseDirect() {
  return Refuse({BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
                 BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[2])),
                 BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_DIRECT, 0, 1),
                 BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL)});
}

// Runs `check`, which gives 0 when all is right, in a process of its own.
void ExpectInChild(const std::function<int()>& check) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(_exit(check()), testing::ExitedWithCode(0), "");
}

TEST_F(IoChoiceTest, RunsWhatIsAskedFor) {
  EXPECT_EQ(Description(IoMode::kPread), "pread: asked for");
  EXPECT_EQ(Description(IoMode::kMmap), "mmap: asked for");
  EXPECT_TRUE(LoadsRight(IoMode::kPread));
  EXPECT_TRUE(LoadsRight(IoMode::kMmap));
  EXPECT_TRUE(LoadsRight(IoMode::kAuto));
  for (const IoMode io : {IoMode::kUring, IoMode::kDirect}) {
    if (!Open(io).ok()) continue;  // refused here
    EXPECT_EQ(Description(io),
              io == IoMode::kUring ? "io_uring: asked for" : "io_uring with O_DIRECT: asked for");
    EXPECT_TRUE(LoadsRight(io));
  }
}

TEST_F(IoChoiceTest, TheEnvironmentDecidesForAutoOnly) {
  setenv("NWC_IO", "pread", 1);
  EXPECT_EQ(Description(IoMode::kAuto), "pread: NWC_IO=pread");
  setenv("NWC_IO", "mmap", 1);
  EXPECT_EQ(Description(IoMode::kPread), "pread: asked for");
  EXPECT_EQ(Description(IoMode::kAuto), "mmap: NWC_IO=mmap");
  unsetenv("NWC_IO");
  const std::string alone = Description(IoMode::kAuto);
  setenv("NWC_IO", "auto", 1);
  EXPECT_EQ(Description(IoMode::kAuto), alone);
  setenv("NWC_IO", "", 1);
  EXPECT_EQ(Description(IoMode::kAuto), alone);
}

TEST_F(IoChoiceTest, AnUnknownEnvironmentValueIsAUsageError) {
  setenv("NWC_IO", "fast", 1);
  EXPECT_EQ(Open(IoMode::kAuto).status().code(), ErrorCode::kUsage);
  EXPECT_TRUE(Open(IoMode::kPread).ok());
}

TEST_F(IoChoiceTest, FallsBackAndSaysWhyWhereUringIsRefused) {
  ExpectInChild([this] {
    if (!RefuseCall(SYS_io_uring_setup)) return 0;  // nothing to see where seccomp is not allowed
    if (Description(IoMode::kAuto) != "pread: io_uring refused (Operation not permitted)") return 1;
    return LoadsRight(IoMode::kAuto) ? 0 : 2;
  });
}

TEST_F(IoChoiceTest, WhatIsAskedForAndRefusedIsAnIoError) {
  ExpectInChild([this] {
    if (!RefuseCall(SYS_io_uring_setup)) return 0;
    for (const IoMode io : {IoMode::kUring, IoMode::kDirect}) {
      const Status status = Open(io).status();
      if (status.code() != ErrorCode::kIo) return 1;
      if (status.message().find("io_uring refused (Operation not permitted)") ==
          std::string::npos) {
        return 2;
      }
    }
    setenv("NWC_IO", "uring", 1);
    return Open(IoMode::kAuto).status().code() == ErrorCode::kIo ? 0 : 3;
  });
}

TEST_F(IoChoiceTest, MmapNeedsTheKernelToCopy) {
  ExpectInChild([this] {
    if (!RefuseCall(SYS_process_vm_readv)) return 0;
    const Status status = Open(IoMode::kMmap).status();
    if (status.code() != ErrorCode::kIo) return 1;
    return status.message().find("process_vm_readv") != std::string::npos ? 0 : 2;
  });
}

TEST_F(IoChoiceTest, DirectIsRefusedWhereTheFileSystemRefuses) {
  ExpectInChild([this] {
    if (!Open(IoMode::kDirect).ok() || !RefuseDirect()) return 0;
    const Status status = Open(IoMode::kDirect).status();
    if (status.code() != ErrorCode::kIo) return 1;
    if (status.message().find("O_DIRECT refused (Invalid argument)") == std::string::npos) return 2;
    return LoadsRight(IoMode::kAuto) ? 0 : 3;
  });
}

TEST_F(IoChoiceTest, ModesThatNeedAFileAreUsageErrorsWithoutOne) {
  LoadOptions options;
  for (const IoMode io : {IoMode::kUring, IoMode::kDirect, IoMode::kMmap}) {
    options.io = io;
    const auto loader = Loader::OpenMemory(content_, options);
    EXPECT_EQ(loader.status().code(), ErrorCode::kUsage) << IoModeName(io);
  }
  setenv("NWC_IO", "direct", 1);  // is about files
  options.io = IoMode::kAuto;
  EXPECT_TRUE(Loader::OpenMemory(content_, options).ok());
}

TEST_F(IoChoiceTest, OneLineIsLoggedForEachContainer) {
  std::vector<std::string> lines;
  LoadOptions options;
  options.io = IoMode::kPread;
  options.log = [&](const std::string& line) { lines.push_back(line); };
  ASSERT_TRUE(Loader::Open(file_->path(), options).ok());
  EXPECT_EQ(lines, std::vector<std::string>{file_->path() + ": reads by pread: asked for"});
}

TEST(DecideAuto, GoesByFileSystemAndPageCache) {
  EXPECT_EQ(DecideAuto({StorageKind::kMemory, "tmpfs", 1.0}).mode, IoMode::kPread);
  EXPECT_EQ(DecideAuto({StorageKind::kNetwork, "NFS", 0.0}).mode, IoMode::kPread);
  EXPECT_EQ(DecideAuto({StorageKind::kDisk, "ext4", 1.0}).mode, IoMode::kUring);
  EXPECT_EQ(DecideAuto({StorageKind::kDisk, "ext4", 0.0}).mode, IoMode::kDirect);
  EXPECT_EQ(DecideAuto({StorageKind::kDisk, "ext4", 0.25}).why,
            "ext4, 25 % of its pages in memory");
}

TEST(StorageKindTest, IsKnownByTheNumberOfTheFileSystem) {
  EXPECT_EQ(StorageKindOf(0x01021994), StorageKind::kMemory);
  EXPECT_EQ(StorageKindOf(0x6969), StorageKind::kNetwork);
  EXPECT_EQ(StorageKindOf(0x65735546), StorageKind::kNetwork);
  EXPECT_EQ(StorageKindOf(0xEF53), StorageKind::kDisk);
  EXPECT_EQ(StorageKindOf(0x12345), StorageKind::kDisk);
}

TEST(FileFactsTest, AFileJustWrittenIsInMemory) {
  const TemporaryFile file(std::vector<uint8_t>(1 << 20, 7));
  const auto source = FileSource::Open(file.path());
  ASSERT_TRUE(source.ok());
  const FileFacts facts = LookAtFile((*source)->descriptor(), (*source)->size());
  EXPECT_GT(facts.resident_share, 0.9);
  EXPECT_FALSE(facts.file_system.empty());
}

TEST(IoModeTest, NamesAreReadBack) {
  for (const IoMode io :
       {IoMode::kAuto, IoMode::kUring, IoMode::kDirect, IoMode::kPread, IoMode::kMmap}) {
    EXPECT_EQ(ParseIoMode(IoModeName(io)), io);
  }
  EXPECT_EQ(ParseIoMode("Direct"), std::nullopt);
}

}  // namespace
}  // namespace nwc
