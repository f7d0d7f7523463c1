#include "cuda/socket_broadcast.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace nwc {
namespace {

// A Status on its way; longer messages are cut.
struct StatusRecord {
  int32_t rule;
  uint32_t code;
  uint32_t message_bytes;
  char message[1012];
};

StatusRecord ToRecord(const Status& status) {
  StatusRecord record{};
  record.rule = status.rule();
  record.code = static_cast<uint32_t>(status.code());
  const size_t size = std::min(status.message().size(), sizeof(record.message));
  record.message_bytes = static_cast<uint32_t>(size);
  std::memcpy(record.message, status.message().data(), size);
  return record;
}

Status FromRecord(const StatusRecord& record) {
  if (record.code == 0) return {};
  const std::string message(record.message,
                            std::min<size_t>(record.message_bytes, sizeof(record.message)));
  if (record.code > static_cast<uint32_t>(ErrorCode::kInternal)) {
    return Status(ErrorCode::kInternal, "unknown error: " + message);
  }
  const auto code = static_cast<ErrorCode>(record.code);
  return code == ErrorCode::kCorrupt ? Status::Corrupt(record.rule, message)
                                     : Status(code, message);
}

ByteSpan BytesOf(const StatusRecord& record) {
  return {reinterpret_cast<const uint8_t*>(&record), sizeof(record)};
}

Status ReceiveStatus(RankSocket* socket, RankSocket::Clock::time_point end, Status* status) {
  StatusRecord record;
  NWC_RETURN_IF_ERROR(socket->Receive(RankMessage::kStatus,
                                      {reinterpret_cast<uint8_t*>(&record), sizeof(record)}, end));
  *status = FromRecord(record);
  return {};
}

Status OfRank(size_t rank, const Status& status) {
  return status.ok() ? status : status.WithContext("rank " + std::to_string(rank));
}

}  // namespace

Result<std::unique_ptr<SocketBroadcaster>> SocketBroadcaster::Over(std::vector<Descriptor> peers,
                                                                   size_t rank, size_t world,
                                                                   Milliseconds timeout) {
  if (rank >= world || peers.size() != (rank == 0 ? world - 1 : 1)) {
    return Status(ErrorCode::kUsage, "rank " + std::to_string(rank) + " of " +
                                         std::to_string(world) + " with " +
                                         std::to_string(peers.size()) +
                                         " sockets, expected one to each other rank on rank 0 and "
                                         "one to rank 0 elsewhere");
  }
  std::vector<RankSocket> sockets;
  for (size_t i = 0; i < peers.size(); ++i) {
    sockets.emplace_back(std::move(peers[i]), rank == 0 ? i + 1 : 0);
  }
  return Make(std::move(sockets), rank, world, timeout);
}

std::unique_ptr<SocketBroadcaster> SocketBroadcaster::Make(std::vector<RankSocket> peers,
                                                           size_t rank, size_t world,
                                                           Milliseconds timeout) {
  std::unique_ptr<SocketBroadcaster> ranks(new SocketBroadcaster(rank, world, timeout));
  ranks->peers_ = std::move(peers);
  return ranks;
}

RankSocket::Clock::time_point SocketBroadcaster::EndOf(int timeouts) const {
  return RankSocket::Clock::now() + timeouts * timeout_;
}

double SocketBroadcaster::timeout_seconds() const {
  return std::chrono::duration<double>(timeout_).count();
}

// Closes the sockets, so that no rank waits for this one.
Status SocketBroadcaster::End(Status status) {
  if (status.ok()) return status;
  if (ended_.ok()) ended_ = std::move(status);
  for (RankSocket& peer : peers_) peer.Close();
  return ended_;
}

void SocketBroadcaster::Abort() {
  (void)End(Status(ErrorCode::kIo, "the group of ranks was ended"));
}

Status SocketBroadcaster::Agree(const Status& mine) {
  if (!ended_.ok()) return ended_;
  return End(rank_ == 0 ? GatherStatus(mine) : SendStatus(mine));
}

// As soon as one rank has failed all are told; what others have sent by then is of no use.
Status SocketBroadcaster::GatherStatus(const Status& mine) {
  Status verdict = OfRank(0, mine);
  auto end = EndOf(1);
  for (size_t rank = 1; verdict.ok() && rank < world_; ++rank) {
    Status theirs;
    const Status received = ReceiveStatus(&SocketOf(rank), end, &theirs);
    verdict = received.ok() ? OfRank(rank, theirs) : received;
  }
  end = EndOf(1);
  for (size_t rank = 1; rank < world_; ++rank) {
    const Status sent = SocketOf(rank).Send(RankMessage::kStatus, BytesOf(ToRecord(verdict)), end);
    if (verdict.ok()) verdict = sent;
  }
  return verdict;
}

// Rank 0 may have its answer ready, and be gone. It waits for a silent rank before it answers.
Status SocketBroadcaster::SendStatus(const Status& mine) {
  RankSocket& socket = SocketOf(0);
  const Status sent = socket.Send(RankMessage::kStatus, BytesOf(ToRecord(mine)), EndOf(1));
  Status verdict;
  const Status received = ReceiveStatus(&socket, EndOf(2), &verdict);
  if (received.ok()) return verdict;
  if (!mine.ok()) return OfRank(rank_, mine);
  return sent.ok() ? received : sent;
}

Status SocketBroadcaster::Broadcast(MutableByteSpan bytes, size_t root) {
  if (!ended_.ok()) return ended_;
  if (rank_ != 0) {
    return End(rank_ == root ? SocketOf(0).Send(RankMessage::kBytes, bytes, EndOf(2))
                             : SocketOf(0).Receive(RankMessage::kBytes, bytes, EndOf(2)));
  }
  const auto end = EndOf(1);
  Status status;
  if (root != 0) status = SocketOf(root).Receive(RankMessage::kBytes, bytes, end);
  for (size_t rank = 1; status.ok() && rank < world_; ++rank) {
    if (rank != root) status = SocketOf(rank).Send(RankMessage::kBytes, bytes, end);
  }
  return End(status);
}

Status SocketBroadcaster::BroadcastOnDevice(DeviceAddress, size_t, size_t, DeviceStream) {
  return Status(ErrorCode::kUnsupported, "sockets do not reach the device");
}

}  // namespace nwc
