#include "cuda/rank_socket.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <string>

namespace nwc {
namespace {

constexpr uint32_t kMagic = 0x6B6E6172;  // "rank"

struct Header {
  uint32_t magic;
  uint32_t kind;
  uint64_t size_bytes;
};

ByteSpan BytesOf(const Header& header) {
  return {reinterpret_cast<const uint8_t*>(&header), sizeof(header)};
}

}  // namespace

Status RankSocket::Gone(const char* what) const {
  return Status(ErrorCode::kIo, "rank " + std::to_string(peer_) + " is gone: " + what);
}

Status RankSocket::Wait(short events, Clock::time_point end) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd waited{descriptor_.get(), events, 0};
    const int found = poll(&waited, 1, static_cast<int>(std::clamp<int64_t>(left, 0, 60'000)));
    if (found > 0) return {};
    if (found < 0 && errno != EINTR) return Gone(std::strerror(errno));
    if (left <= 0) {
      return Status(ErrorCode::kIo, "rank " + std::to_string(peer_) + " did not answer in time");
    }
  }
}

Status RankSocket::SendAll(ByteSpan bytes, Clock::time_point end) {
  while (!bytes.empty()) {
    const ssize_t sent =
        send(descriptor_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes = bytes.subspan(static_cast<size_t>(sent));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      NWC_RETURN_IF_ERROR(Wait(POLLOUT, end));
    } else if (errno != EINTR) {
      return Gone(std::strerror(errno));
    }
  }
  return {};
}

Status RankSocket::ReceiveAll(MutableByteSpan bytes, Clock::time_point end) {
  while (!bytes.empty()) {
    const ssize_t got = recv(descriptor_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (got > 0) {
      bytes = bytes.subspan(static_cast<size_t>(got));
    } else if (got == 0) {
      return Gone("it closed the connection");
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      NWC_RETURN_IF_ERROR(Wait(POLLIN, end));
    } else if (errno != EINTR) {
      return Gone(std::strerror(errno));
    }
  }
  return {};
}

Status RankSocket::Send(RankMessage kind, ByteSpan bytes, Clock::time_point end) {
  if (!open()) return Gone("the connection was closed");
  NWC_RETURN_IF_ERROR(SendAll(BytesOf({kMagic, static_cast<uint32_t>(kind), bytes.size()}), end));
  return SendAll(bytes, end);
}

Status RankSocket::Receive(RankMessage kind, MutableByteSpan bytes, Clock::time_point end) {
  if (!open()) return Gone("the connection was closed");
  Header header{};
  NWC_RETURN_IF_ERROR(ReceiveAll({reinterpret_cast<uint8_t*>(&header), sizeof(header)}, end));
  if (header.magic != kMagic || header.kind != static_cast<uint32_t>(kind) ||
      header.size_bytes != bytes.size()) {
    return Status(ErrorCode::kInternal,
                  "rank " + std::to_string(peer_) + " sent message " + std::to_string(header.kind) +
                      " of " + std::to_string(header.size_bytes) + " bytes, expected " +
                      std::to_string(static_cast<uint32_t>(kind)) + " of " +
                      std::to_string(bytes.size()) + ": the ranks make different calls");
  }
  return ReceiveAll(bytes, end);
}

}  // namespace nwc
