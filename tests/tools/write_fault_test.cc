// AtomicFile on a disk that is full or broken, at each of its system calls: the error names the
// path, nothing half-written stays, an older file survives, and the next try works.
#include <gtest/gtest.h>

#include <cerrno>

#include "tests/support/system_faults.h"
#include "tests/tools/temporary_folder.h"
#include "tools/atomic_file.h"

namespace nwc {
namespace {

using Names = std::set<std::string>;

ByteSpan Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

class WriteFaults : public testing::Test {
 protected:
  // Large enough for several writes; the head is written last.
  [[nodiscard]] Status Write() const {
    NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(folder_.Path("out"), true));
    NWC_RETURN_IF_ERROR(file->Append(Bytes("....")));
    NWC_RETURN_IF_ERROR(file->Append(Bytes(body_)));
    NWC_RETURN_IF_ERROR(file->Append(Bytes("end")));
    return file->Commit(Bytes("head"));
  }
  void ExpectWhole() const { EXPECT_TRUE(folder_.Read("out") == "head" + body_ + "end"); }

  // Fails each call of a kind in turn; how many there are.
  size_t FailEach(SystemCall call, int error) {
    for (size_t number = 0;; ++number) {
      folder_.Write("out", "precious");
      Status status;
      {
        const FaultScope fault({.call = call, .error = error, .first = number, .count = 1});
        status = Write();
        if (fault.hits() == 0) {
          EXPECT_TRUE(status.ok()) << status.ToString();
          ExpectWhole();
          return number;
        }
      }
      EXPECT_EQ(status.code(), ErrorCode::kIo);
      EXPECT_EQ(status.message().find(folder_.Path("out") + ": "), 0u) << status.ToString();
      EXPECT_EQ(folder_.Names(), Names{"out"});
      // The folder's own fsync comes when the file has its name and is whole.
      if (folder_.Read("out") != "precious") ExpectWhole();
      Status next = Write();
      EXPECT_TRUE(next.ok()) << next.ToString();
      ExpectWhole();
    }
  }

  TemporaryFolder folder_;
  std::string body_ = std::string(9 << 20, 'x');
};

TEST_F(WriteFaults, AFullDiskAtAnyWrite) {
  EXPECT_GE(FailEach(SystemCall::kWrite, ENOSPC), 4u);
  EXPECT_GE(FailEach(SystemCall::kWrite, EDQUOT), 4u);
}

TEST_F(WriteFaults, AFullDiskIsFoundAtSync) {
  EXPECT_EQ(FailEach(SystemCall::kSync, ENOSPC), 3u);  // data, file, folder
  EXPECT_EQ(FailEach(SystemCall::kSync, EIO), 3u);
}

TEST_F(WriteFaults, NoRoomForTheName) { EXPECT_EQ(FailEach(SystemCall::kRename, ENOSPC), 1u); }

TEST_F(WriteFaults, AFullDiskIsSaidToBeOne) {
  const FaultScope fault({.call = SystemCall::kWrite, .error = ENOSPC});
  const Status status = Write();
  EXPECT_NE(status.message().find("No space left on device"), std::string::npos);
  EXPECT_NE(status.message().find("nothing is left behind"), std::string::npos);
  EXPECT_EQ(folder_.Names(), Names());
}

TEST_F(WriteFaults, InterruptedAndShortWritesGoOn) {
  for (const Fault& fault : {Fault{.call = SystemCall::kWrite, .error = EINTR, .passes_every = 3},
                             Fault{.call = SystemCall::kWrite, .most_bytes = 100'000}}) {
    const FaultScope scope(fault);
    const Status status = Write();
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_GT(scope.hits(), 1u);
    ExpectWhole();
  }
}

}  // namespace
}  // namespace nwc
