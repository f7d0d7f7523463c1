// Ranks on one machine, through the host's memory: rank 0 is connected with every other rank.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "cuda/broadcast.h"
#include "cuda/rank_socket.h"

namespace nwc {

class SocketBroadcaster : public Broadcaster {
 public:
  using Milliseconds = std::chrono::milliseconds;
  // How long one rank waits for the others in a call.
  static constexpr Milliseconds kTimeout{60'000};

  // Connects `world` processes of one user over a socket at `path`, which rank 0 makes and which is
  // gone when all are there. kIo when ranks do not come in time, kUsage for ranks that come twice
  // or are of another world.
  static Result<std::unique_ptr<SocketBroadcaster>> Meet(const std::string& path, size_t rank,
                                                         size_t world,
                                                         Milliseconds timeout = kTimeout);
  // Over stream sockets that are connected: for rank 0 those to rank 1, 2 …, else the one to rank
  // 0.
  static Result<std::unique_ptr<SocketBroadcaster>> Over(std::vector<Descriptor> peers, size_t rank,
                                                         size_t world,
                                                         Milliseconds timeout = kTimeout);

  [[nodiscard]] size_t rank() const override { return rank_; }
  [[nodiscard]] size_t world() const override { return world_; }
  Status Agree(const Status& mine) override;
  Status Broadcast(MutableByteSpan bytes, size_t root) override;
  [[nodiscard]] bool on_device() const override { return false; }
  Status BroadcastOnDevice(DeviceAddress bytes, size_t size_bytes, size_t root,
                           DeviceStream stream) override;
  void Abort() override;
  [[nodiscard]] double timeout_seconds() const override;

 private:
  static std::unique_ptr<SocketBroadcaster> Make(std::vector<RankSocket> peers, size_t rank,
                                                 size_t world, Milliseconds timeout);
  SocketBroadcaster(size_t rank, size_t world, Milliseconds timeout)
      : rank_(rank), world_(world), timeout_(timeout) {}
  // Keeps the first failure, which ends the group.
  Status End(Status status);
  Status GatherStatus(const Status& mine);  // rank 0
  Status SendStatus(const Status& mine);    // other ranks
  [[nodiscard]] RankSocket& SocketOf(size_t rank) { return peers_[rank == 0 ? 0 : rank - 1]; }
  [[nodiscard]] RankSocket::Clock::time_point EndOf(int timeouts) const;

  const size_t rank_, world_;
  const Milliseconds timeout_;
  std::vector<RankSocket> peers_;
  Status ended_;
};

}  // namespace nwc
