// Ranks of a group as processes, for tests.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cuda/socket_broadcast.h"
#include "format/checksum.h"

namespace nwc {

// What became of one.
struct RankOutcome {
  bool ended = false;  // by itself, and with a status: not killed, and not stuck
  ErrorCode code = ErrorCode::kInternal;
  int rule = 0;
  std::string message;
  std::vector<Hash128> hashes;  // of what it found
};

using RankBody =
    std::function<Status(std::unique_ptr<SocketBroadcaster> ranks, std::vector<Hash128>* hashes)>;

// Runs `body` in `world` processes that are connected, and waits for all; those that take longer
// than half a minute are killed.
std::vector<RankOutcome> RunRanks(size_t world, std::chrono::milliseconds timeout,
                                  const RankBody& body);

}  // namespace nwc
