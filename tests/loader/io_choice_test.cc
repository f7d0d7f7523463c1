// Which way of reading runs, by option, by environment, and where io_uring is refused.
#include <gtest/gtest.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>

#include "loader/loader.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

class IoChoiceTest : public testing::Test {
 protected:
  void SetUp() override {
    unsetenv("NWC_IO");
    builder_.AddStream("x", DType::kBF16, {300, 200, 64, 64});
    file_ = std::make_unique<TemporaryFile>(builder_.Finish());
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
  std::unique_ptr<TemporaryFile> file_;
};

// As container runtimes do it: io_uring_setup fails with EPERM from here on in this process.
bool RefuseUring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

TEST_F(IoChoiceTest, PreadWhenAskedFor) {
  EXPECT_EQ(Description(IoMode::kPread), "pread: asked for");
  EXPECT_TRUE(LoadsRight(IoMode::kPread));
}

TEST_F(IoChoiceTest, TheEnvironmentDecidesForAutoOnly) {
  setenv("NWC_IO", "pread", 1);
  EXPECT_EQ(Description(IoMode::kAuto), "pread: NWC_IO=pread");
  setenv("NWC_IO", "uring", 1);
  EXPECT_EQ(Description(IoMode::kPread), "pread: asked for");
  EXPECT_EQ(Description(IoMode::kAuto), Description(IoMode::kUring));
}

TEST_F(IoChoiceTest, AnUnknownEnvironmentValueIsAUsageError) {
  setenv("NWC_IO", "mmap", 1);
  EXPECT_EQ(Open(IoMode::kAuto).status().code(), ErrorCode::kUsage);
  EXPECT_TRUE(Open(IoMode::kPread).ok());
}

TEST_F(IoChoiceTest, FallsBackAndSaysWhyWhereUringIsRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto child = [this] {
    if (!RefuseUring()) return 0;  // nothing to see where seccomp is not allowed
    if (Description(IoMode::kAuto) != "pread: io_uring refused (Operation not permitted)") return 1;
    return LoadsRight(IoMode::kAuto) ? 0 : 2;
  };
  EXPECT_EXIT(_exit(child()), testing::ExitedWithCode(0), "");
}

TEST_F(IoChoiceTest, UringAskedForAndRefusedIsAnIoError) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto child = [this] {
    if (!RefuseUring()) return 0;
    if (Open(IoMode::kUring).status().code() != ErrorCode::kIo) return 1;
    setenv("NWC_IO", "uring", 1);
    return Open(IoMode::kAuto).status().code() == ErrorCode::kIo ? 0 : 2;
  };
  EXPECT_EXIT(_exit(child()), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace nwc
