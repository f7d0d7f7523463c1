// How the ranks of a SocketBroadcaster find each other: rank 0 listens at a path.
#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <string>
#include <thread>
#include <utility>

#include "cuda/socket_broadcast.h"

namespace nwc {
namespace {

using Clock = RankSocket::Clock;

constexpr std::chrono::milliseconds kRetry(10);

struct Hello {
  uint64_t rank, world;
};

Status Failed(const std::string& path, const char* what) {
  return Status(ErrorCode::kIo, path + ": " + what + ": " + std::strerror(errno));
}

Status Late(const std::string& path, const char* what) {
  return Status(ErrorCode::kIo, path + ": " + what + " in time: is every rank started, and with " +
                                    "the same path?");
}

Result<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return Status(ErrorCode::kUsage, path + ": a path of " + std::to_string(path.size()) +
                                         " bytes for a socket, expected 1 to " +
                                         std::to_string(sizeof(address.sun_path) - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

Descriptor MakeSocket() {
  return Descriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

const sockaddr* Plain(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// A listening socket whose path goes with it.
class Door {
 public:
  explicit Door(std::string path) : path_(std::move(path)) {}
  ~Door() {
    if (bound_) unlink(path_.c_str());
  }
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  Status Open(int ranks) {
    NWC_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path_));
    socket_ = MakeSocket();
    if (socket_.get() < 0) return Failed(path_, "socket");
    if (bind(socket_.get(), Plain(address), sizeof(address)) != 0) {
      return Failed(path_, "cannot listen here");
    }
    bound_ = true;
    return listen(socket_.get(), ranks) == 0 ? Status() : Failed(path_, "cannot listen here");
  }

  // Who comes next, of this user.
  Result<Descriptor> Accept(Clock::time_point end) {
    while (Clock::now() < end) {
      Descriptor guest(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (guest.get() >= 0) {
        ucred who{};
        socklen_t size = sizeof(who);
        const int known = getsockopt(guest.get(), SOL_SOCKET, SO_PEERCRED, &who, &size);
        if (known == 0 && who.uid == geteuid()) return guest;
        continue;  // a stranger
      }
      if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED) {
        return Failed(path_, "cannot accept");
      }
      std::this_thread::sleep_for(kRetry);
    }
    return Late(path_, "not all ranks came");
  }

 private:
  const std::string path_;
  Descriptor socket_;
  bool bound_ = false;
};

Result<std::vector<RankSocket>> Receive(const std::string& path, size_t world,
                                        Clock::time_point end) {
  Door door(path);
  NWC_RETURN_IF_ERROR(door.Open(static_cast<int>(world)));
  std::vector<RankSocket> peers(world - 1);
  for (size_t missing = world - 1; missing > 0; --missing) {
    NWC_ASSIGN_OR_RETURN(Descriptor accepted, door.Accept(end));
    RankSocket guest(std::move(accepted), 0);
    Hello hello{};
    const Status said = guest.Receive(RankMessage::kHello,
                                      {reinterpret_cast<uint8_t*>(&hello), sizeof(hello)}, end);
    if (!said.ok()) return said.WithContext(path + ": one that came");
    if (hello.world != world || hello.rank == 0 || hello.rank >= world ||
        peers[hello.rank - 1].open()) {
      return Status(ErrorCode::kUsage,
                    path + ": rank " + std::to_string(hello.rank) + " of " +
                        std::to_string(hello.world) + " came, expected each of 1 to " +
                        std::to_string(world - 1) + " of " + std::to_string(world) + " once");
    }
    guest.set_peer(hello.rank);
    peers[hello.rank - 1] = std::move(guest);
  }
  return peers;
}

Result<std::vector<RankSocket>> Visit(const std::string& path, const Hello& hello,
                                      Clock::time_point end) {
  NWC_ASSIGN_OR_RETURN(const sockaddr_un address, AddressOf(path));
  while (Clock::now() < end) {
    Descriptor socket = MakeSocket();
    if (socket.get() < 0) return Failed(path, "socket");
    if (connect(socket.get(), Plain(address), sizeof(address)) == 0) {
      std::vector<RankSocket> host;
      host.emplace_back(std::move(socket), 0);
      NWC_RETURN_IF_ERROR(host[0].Send(
          RankMessage::kHello, {reinterpret_cast<const uint8_t*>(&hello), sizeof(hello)}, end));
      return host;
    }
    if (errno != ENOENT && errno != ECONNREFUSED && errno != EAGAIN && errno != EINTR) {
      return Failed(path, "cannot connect");
    }
    std::this_thread::sleep_for(kRetry);
  }
  return Late(path, "rank 0 did not come");
}

}  // namespace

Result<std::unique_ptr<SocketBroadcaster>> SocketBroadcaster::Meet(const std::string& path,
                                                                   size_t rank, size_t world,
                                                                   Milliseconds timeout) {
  if (world == 0 || rank >= world) return Over({}, rank, world, timeout);  // says what is wrong
  const auto end = Clock::now() + timeout;
  auto peers = rank == 0 ? Receive(path, world, end) : Visit(path, {rank, world}, end);
  NWC_RETURN_IF_ERROR(peers.status());
  return Make(std::move(*peers), rank, world, timeout);
}

}  // namespace nwc
