// What ranks tell each other, over sockets and through a library in the place of NCCL's.
#include "cuda/broadcast.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "cuda/nccl_broadcast.h"
#include "tests/cuda/host_device.h"
#include "tests/cuda/rank_processes.h"

namespace nwc {
namespace {

using Milliseconds = std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr Milliseconds kLong(20'000);
constexpr Milliseconds kShort(300);

std::vector<uint8_t> Numbers(size_t size, uint8_t first) {
  std::vector<uint8_t> bytes(size);
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<uint8_t>(first + i * 7);
  return bytes;
}

TEST(SocketBroadcaster, BytesOfEveryRankComeToAll) {
  constexpr size_t kSizes[] = {0, 1, 100, 3 << 20};  // more than a socket holds
  const auto outcomes = RunRanks(3, kLong, [&](auto ranks, auto* hashes) -> Status {
    for (size_t root = 0; root < ranks->world(); ++root) {
      for (const size_t size : kSizes) {
        std::vector<uint8_t> bytes(size);
        if (ranks->rank() == root) bytes = Numbers(size, static_cast<uint8_t>(root));
        NWC_RETURN_IF_ERROR(ranks->Broadcast(bytes, root));
        hashes->push_back(Hash128Of(bytes));
      }
    }
    return ranks->Agree({});
  });
  for (const RankOutcome& outcome : outcomes) {
    ASSERT_EQ(outcome.code, ErrorCode::kOk) << outcome.message;
    size_t next = 0;
    for (size_t root = 0; root < 3; ++root) {
      for (const size_t size : kSizes) {
        EXPECT_EQ(outcome.hashes.at(next++), Hash128Of(Numbers(size, static_cast<uint8_t>(root))));
      }
    }
  }
}

TEST(SocketBroadcaster, OneRanksFailureIsEveryRanks) {
  for (size_t bad = 0; bad < 3; ++bad) {
    const auto outcomes = RunRanks(3, kLong, [&](auto ranks, auto*) -> Status {
      NWC_RETURN_IF_ERROR(ranks->Agree({}));
      Status mine;
      if (ranks->rank() == bad) mine = Status::Corrupt(20, std::string(2000, 'x'));
      const Status all = ranks->Agree(mine);
      return ranks->Agree({}).ok() ? Status() : all;  // it stays so
    });
    for (const RankOutcome& outcome : outcomes) {
      EXPECT_EQ(outcome.code, ErrorCode::kCorrupt) << outcome.message;
      EXPECT_EQ(outcome.rule, 20);
      EXPECT_EQ(outcome.message.substr(0, 9), "rank " + std::to_string(bad) + ": x");
    }
  }
}

TEST(SocketBroadcaster, ADeadRankIsNoticedAtOnce) {
  for (size_t dead = 0; dead < 3; ++dead) {
    const auto begin = Clock::now();
    const auto outcomes = RunRanks(3, kLong, [&](auto ranks, auto*) -> Status {
      NWC_RETURN_IF_ERROR(ranks->Agree({}));
      if (ranks->rank() == dead) raise(SIGKILL);
      std::vector<uint8_t> bytes(5 << 20);
      for (int i = 0; i < 2; ++i) {
        NWC_RETURN_IF_ERROR(ranks->Agree({}));
        NWC_RETURN_IF_ERROR(ranks->Broadcast(bytes, 0));
      }
      return {};
    });
    EXPECT_LT(Clock::now() - begin, kLong / 2);
    for (size_t rank = 0; rank < 3; ++rank) {
      EXPECT_EQ(outcomes[rank].ended, rank != dead);
      if (rank == dead) continue;
      EXPECT_EQ(outcomes[rank].code, ErrorCode::kIo);
      EXPECT_NE(outcomes[rank].message.find("rank " + std::to_string(dead) + " is gone"),
                std::string::npos)
          << outcomes[rank].message;
    }
  }
}

TEST(SocketBroadcaster, ASilentRankIsWaitedForNoLongerThanAgreed) {
  for (size_t silent = 0; silent < 3; ++silent) {
    const auto begin = Clock::now();
    const auto outcomes = RunRanks(3, kShort, [&](auto ranks, auto*) -> Status {
      if (ranks->rank() == silent) std::this_thread::sleep_for(4 * kShort);
      return ranks->Agree({});
    });
    EXPECT_LT(Clock::now() - begin, kLong / 2);
    for (size_t rank = 0; rank < 3; ++rank) {
      if (rank == 0 && silent == 0) continue;  // it finds the others gone
      EXPECT_EQ(outcomes[rank].code, ErrorCode::kIo);
      EXPECT_NE(outcomes[rank].message.find("rank " + std::to_string(silent) + " did not answer"),
                std::string::npos)
          << outcomes[rank].message;
    }
  }
}

TEST(SocketBroadcaster, RanksOutOfStepAreTold) {
  const auto outcomes = RunRanks(2, kLong, [&](auto ranks, auto*) -> Status {
    std::vector<uint8_t> bytes(ranks->rank() == 0 ? 16 : 17);
    NWC_RETURN_IF_ERROR(ranks->Broadcast(bytes, 0));
    return ranks->Agree({});
  });
  EXPECT_EQ(outcomes[0].code, ErrorCode::kIo);
  EXPECT_EQ(outcomes[1].code, ErrorCode::kInternal);
  EXPECT_NE(outcomes[1].message.find("different calls"), std::string::npos);
}

class Meeting : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "nwc_meet_XXXXXX";
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::string path() const { return folder_ + "/ranks"; }

  std::string folder_;
};

TEST_F(Meeting, RanksFindEachOtherByAPath) {
  const auto outcomes = RunRanks(3, kLong, [&](auto given, auto*) -> Status {
    // The last comes first.
    std::this_thread::sleep_for(Milliseconds(50) * (2 - given->rank()));
    NWC_ASSIGN_OR_RETURN(const auto ranks,
                         SocketBroadcaster::Meet(path(), given->rank(), given->world(), kLong));
    std::vector<uint8_t> bytes = Numbers(10, ranks->rank() == 1 ? 3 : 0);
    NWC_RETURN_IF_ERROR(ranks->Broadcast(bytes, 1));
    return ranks->Agree(bytes == Numbers(10, 3) ? Status()
                                                : Status(ErrorCode::kInternal, "other bytes"));
  });
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code, ErrorCode::kOk) << outcome.message;
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(Meeting, RanksThatDoNotBelongAreRefused) {
  const auto outcomes = RunRanks(2, kLong, [&](auto given, auto*) -> Status {
    const size_t world = given->rank() == 0 ? 2 : 3;
    NWC_ASSIGN_OR_RETURN(const auto ranks,
                         SocketBroadcaster::Meet(path(), given->rank(), world, kLong));
    return ranks->Agree({});
  });
  EXPECT_EQ(outcomes[0].code, ErrorCode::kUsage);
  EXPECT_NE(outcomes[0].message.find("rank 1 of 3 came"), std::string::npos) << outcomes[0].message;
  EXPECT_EQ(outcomes[1].code, ErrorCode::kIo);
}

TEST_F(Meeting, WhoWaitsAloneGivesUp) {
  EXPECT_EQ(SocketBroadcaster::Meet(path(), 0, 2, kShort).status().code(), ErrorCode::kIo);
  EXPECT_EQ(SocketBroadcaster::Meet(path(), 1, 2, kShort).status().code(), ErrorCode::kIo);
  EXPECT_EQ(SocketBroadcaster::Meet(std::string(200, 'x'), 1, 2, kShort).status().code(),
            ErrorCode::kUsage);
  EXPECT_EQ(SocketBroadcaster::Meet(path(), 2, 2, kShort).status().code(), ErrorCode::kUsage);
  EXPECT_TRUE(SocketBroadcaster::Meet(path(), 0, 1, kShort).ok());
}

TEST(NcclBroadcaster, WithoutTheLibraryAllRanksAreTold) {
  const auto outcomes = RunRanks(2, kLong, [&](auto ranks, auto*) -> Status {
    HostDevice device;
    // One of them has it.
    const char* const library = ranks->rank() == 0 ? FAKE_NCCL : "/nowhere/libnccl.so.2";
    return NcclBroadcaster::Create(std::move(ranks), &device, library).status();
  });
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_EQ(outcome.code, ErrorCode::kUnsupported);
    EXPECT_NE(outcome.message.find("rank 1: no NCCL: /nowhere/libnccl.so.2"), std::string::npos)
        << outcome.message;
  }
}

// The library itself, where it is installed, on a machine without a GPU.
TEST(NcclBroadcaster, WithoutAGpuAllRanksAreTold) {
  if (OpenCudaDevice().ok()) GTEST_SKIP() << "there is a GPU";
  const auto outcomes = RunRanks(2, kLong, [&](auto ranks, auto*) -> Status {
    HostDevice device;
    return NcclBroadcaster::Create(std::move(ranks), &device).status();
  });
  for (const RankOutcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.ended);
    EXPECT_TRUE(outcome.code == ErrorCode::kIo || outcome.code == ErrorCode::kUnsupported)
        << outcome.message;
    EXPECT_NE(outcome.message.find("NCCL"), std::string::npos) << outcome.message;
  }
}

}  // namespace
}  // namespace nwc
