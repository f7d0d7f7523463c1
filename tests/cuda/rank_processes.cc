#include "tests/cuda/rank_processes.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tests/cuda/fake_nccl.h"

namespace nwc {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds kPatience(30);

struct Report {
  uint32_t code;
  int32_t rule;
  uint64_t message_bytes, hashes;
};

void WriteAll(int pipe, const void* bytes, size_t size) {
  const auto* at = static_cast<const uint8_t*>(bytes);
  while (size > 0) {
    const ssize_t wrote = write(pipe, at, size);
    if (wrote <= 0) _exit(3);
    at += wrote;
    size -= static_cast<size_t>(wrote);
  }
}

[[noreturn]] void BeRank(std::unique_ptr<SocketBroadcaster> ranks, const RankBody& body, int pipe) {
  std::vector<Hash128> hashes;
  const Status status = body(std::move(ranks), &hashes);
  const Report report{static_cast<uint32_t>(status.code()), status.rule(), status.message().size(),
                      hashes.size()};
  WriteAll(pipe, &report, sizeof(report));
  WriteAll(pipe, status.message().data(), status.message().size());
  WriteAll(pipe, hashes.data(), hashes.size() * sizeof(Hash128));
  _exit(0);  // the test's own cleaning up is the parent's
}

RankOutcome ReadReport(int pipe, Clock::time_point end) {
  std::string all;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
    pollfd waited{pipe, POLLIN, 0};
    std::array<char, 4096> part;
    if (poll(&waited, 1, static_cast<int>(std::max<int64_t>(left.count(), 0))) <= 0) break;
    const ssize_t got = read(pipe, part.data(), part.size());
    if (got <= 0) break;
    all.append(part.data(), static_cast<size_t>(got));
  }
  RankOutcome outcome;
  Report report{};
  if (all.size() < sizeof(report)) return outcome;
  std::memcpy(&report, all.data(), sizeof(report));
  if (all.size() != sizeof(report) + report.message_bytes + report.hashes * sizeof(Hash128)) {
    return outcome;
  }
  outcome.ended = true;
  outcome.code = static_cast<ErrorCode>(report.code);
  outcome.rule = report.rule;
  outcome.message = all.substr(sizeof(report), report.message_bytes);
  for (size_t at = sizeof(report) + report.message_bytes; at < all.size(); at += sizeof(Hash128)) {
    std::memcpy(&outcome.hashes.emplace_back(), &all[at], sizeof(Hash128));
  }
  return outcome;
}

}  // namespace

std::vector<RankOutcome> RunRanks(size_t world, std::chrono::milliseconds timeout,
                                  const RankBody& body) {
  // What killed ranks leave there goes, too.
  std::string folder = testing::TempDir() + "nwc_ranks_XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  setenv(kFakeNcclFolder, folder.c_str(), 1);
  std::vector<std::vector<Descriptor>> peers(world);
  for (size_t rank = 1; rank < world; ++rank) {
    int pair[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    peers[0].emplace_back(pair[0]);
    peers[rank].emplace_back(pair[1]);
  }
  std::vector<pid_t> processes;
  std::vector<Descriptor> reports;
  for (size_t rank = 0; rank < world; ++rank) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    Descriptor reading(ends[0]), writing(ends[1]);
    const pid_t process = fork();
    if (process == 0) {
      auto own = std::move(peers[rank]);
      peers.clear();  // a rank that dies must be the last to hold its sockets
      auto ranks = SocketBroadcaster::Over(std::move(own), rank, world, timeout);
      BeRank(std::move(*ranks), body, writing.get());
    }
    processes.push_back(process);
    reports.push_back(std::move(reading));
  }
  peers.clear();
  const auto end = Clock::now() + kPatience;
  std::vector<RankOutcome> outcomes;
  for (size_t rank = 0; rank < world; ++rank) {
    outcomes.push_back(ReadReport(reports[rank].get(), end));
    if (!outcomes.back().ended) kill(processes[rank], SIGKILL);
    waitpid(processes[rank], nullptr, 0);
  }
  std::filesystem::remove_all(folder);
  return outcomes;
}

}  // namespace nwc
