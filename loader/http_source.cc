#include "loader/http_source.h"

#include <algorithm>
#include <chrono>
#include <random>
#include <thread>

#include "loader/http_url.h"

namespace nwc {
namespace {

constexpr uint64_t kMaxRetryAfterSeconds = 60;
constexpr uint64_t kJoinedBytes = 4 << 20;  // a long way there makes small requests slow
constexpr uint64_t kGapBytes = 64 << 10;    // cheaper to receive than to ask twice
constexpr std::chrono::milliseconds kPollInterval(20);

std::string Named(const char* what, const std::string& value) {
  return std::string(what) + " " + (value.empty() ? "(none)" : value.substr(0, 100));
}

std::string Text(const ContentRange& range) {
  const std::string total = range.total ? std::to_string(*range.total) : "*";
  if (!range.begin) return "*/" + total;
  return std::to_string(*range.begin) + "-" + std::to_string(*range.end - 1) + "/" + total;
}

Status Unexpected(const std::string& got, const std::string& expected) {
  return Status(ErrorCode::kIo, got + ", expected " + expected);
}

// That the answer brings exactly [begin, end).
Status CheckRange(const HttpHeaders& headers, uint64_t begin, uint64_t end) {
  ContentRange expected{begin, end, {}};
  if (!headers.content_range) {
    return Unexpected("no Content-Range (several ranges?)", Text(expected));
  }
  expected.total = headers.content_range->total;
  if (*headers.content_range != expected) {
    return Unexpected("Content-Range " + Text(*headers.content_range), Text(expected));
  }
  const uint64_t size = end - begin;
  if (headers.content_length && *headers.content_length != size) {
    return Unexpected("Content-Length " + std::to_string(*headers.content_length),
                      std::to_string(size));
  }
  return {};
}

Status WithDetail(const Status& status, const std::string& detail) {
  return Status(status.code(), status.message() + ";" + detail);
}

std::string InTries(int tries) {
  return tries == 1 ? "" : " in " + std::to_string(tries) + " tries";
}

bool IsSet(const std::atomic<bool>* stop) { return stop != nullptr && *stop; }

void Pause(int milliseconds, const std::atomic<bool>* stop) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
  while (!IsSet(stop)) {
    const auto left = end - std::chrono::steady_clock::now();
    if (left <= left.zero()) return;
    std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(left, kPollInterval));
  }
}

}  // namespace

Result<std::unique_ptr<HttpSource>> HttpSource::Open(const std::string& url,
                                                     const RemoteOptions& options) {
  const std::string name = PathForMessages(url);
  auto client = HttpClient::Create(url, options);
  if (!client.ok()) return client.status().WithContext(name);
  std::unique_ptr<HttpSource> source(new HttpSource(name, options, std::move(*client)));
  NWC_RETURN_IF_ERROR(source->ReadHead());
  return source;
}

ReadTraits HttpSource::traits() const {
  return {"HTTP, " + std::to_string(options_.parallel_ranges) + " ranges at once",
          options_.parallel_ranges, kJoinedBytes, kGapBytes};
}

Status HttpSource::Failed(uint64_t begin, uint64_t end, const Status& status) const {
  return status.WithContext(name_ + ": bytes " + std::to_string(begin) + "-" +
                            std::to_string(end - 1));
}

int HttpSource::PauseMs(int tries, uint64_t offset, const HttpHeaders& headers) const {
  int pause = options_.first_pause_ms;
  for (int i = 0; i < tries && pause < options_.longest_pause_ms; ++i) pause *= 2;
  pause = std::min(pause, options_.longest_pause_ms);
  // Readers that failed together should not come back together.
  const auto now = std::chrono::steady_clock::now().time_since_epoch().count();
  std::minstd_rand random(static_cast<uint32_t>(static_cast<uint64_t>(now) ^ offset ^
                                                reinterpret_cast<uintptr_t>(this)));
  pause = std::uniform_int_distribution<int>(pause / 2, pause)(random);
  const uint64_t asked = std::min(headers.retry_after_seconds.value_or(0), kMaxRetryAfterSeconds);
  return std::max(pause, static_cast<int>(asked * 1000));
}

// The first answer says what later ones are held against. What is missing of the head after it is
// fetched as any other range.
Status HttpSource::ReadHead() {
  std::vector<uint8_t> head(kHeadBytes);
  bool known = false;
  const auto learn = [&](const HttpHeaders& headers) -> Result<size_t> {
    if (!headers.content_range || !headers.content_range->total) {
      return Status(ErrorCode::kIo, "the server does not say how large the file is");
    }
    const uint64_t total = *headers.content_range->total;
    const uint64_t size = std::min<uint64_t>(total, kHeadBytes);
    NWC_RETURN_IF_ERROR(CheckRange(headers, 0, size));
    facts_ = {total, headers.etag, headers.last_modified};
    known = true;
    return static_cast<size_t>(size);
  };
  for (int tries = 0;; ++tries) {
    const HttpReply reply = client_->Get({0, kHeadBytes, {}, nullptr}, learn, head);
    const auto& range = reply.headers.content_range;
    const bool empty = reply.headers.status == 416 && range && range->total == 0u;
    if (empty) return {};
    if (known) {
      head.resize(std::min<uint64_t>(facts_.size, kHeadBytes));
      if (!reply.status.ok() && !reply.transient) return Failed(0, head.size(), reply.status);
      const size_t got = reply.received_bytes;
      NWC_RETURN_IF_ERROR(Fetch(got, MutableByteSpan(head).subspan(got), nullptr));
      head_ = std::move(head);
      return {};
    }
    if (!reply.transient || tries == options_.retries) {
      const Status status =
          tries == 0 ? reply.status : WithDetail(reply.status, InTries(tries + 1));
      return Failed(0, kHeadBytes, status);
    }
    Pause(PauseMs(tries, 0, reply.headers), nullptr);
  }
}

// A strong tag alone decides; without one all that both answers say must be equal.
Status HttpSource::Compare(const HttpHeaders& headers) const {
  constexpr const char* kReplaced = "; the file was replaced while open: open it again";
  std::string got, expected;
  const auto& range = headers.content_range;
  if (range && range->total && *range->total != facts_.size) {
    got = "a file of " + std::to_string(*range->total) + " bytes";
    expected = std::to_string(facts_.size);
  } else if (headers.etag != facts_.etag) {
    got = Named("ETag", headers.etag);
    expected = Named("ETag", facts_.etag);
  } else if (!IsStrongTag(facts_.etag) && !headers.last_modified.empty() &&
             headers.last_modified != facts_.last_modified) {
    got = Named("Last-Modified", headers.last_modified);
    expected = Named("Last-Modified", facts_.last_modified);
  } else {
    return {};
  }
  return Status(ErrorCode::kIo, got + ", expected " + expected + kReplaced);
}

Status HttpSource::Fetch(uint64_t offset, MutableByteSpan destination,
                         const std::atomic<bool>* stop) const {
  const uint64_t end = offset + destination.size();
  size_t done = 0;
  for (int tries = 0; done < destination.size(); ++tries) {
    const uint64_t begin = offset + done;
    const auto accept = [&](const HttpHeaders& headers) -> Result<size_t> {
      NWC_RETURN_IF_ERROR(Compare(headers));  // first: a shorter file answers another range, too
      NWC_RETURN_IF_ERROR(CheckRange(headers, begin, end));
      return destination.size() - done;
    };
    HttpRange range{begin, end, {}, stop};
    if (IsStrongTag(facts_.etag)) range.if_range = facts_.etag;
    const HttpReply reply = client_->Get(range, accept, destination.subspan(done));
    if (reply.status.ok()) return {};
    if (reply.headers.status == 200 && reply.headers.etag != facts_.etag) {
      return Failed(
          begin, end,
          Status(ErrorCode::kIo, Named("answered 200 with ETag", reply.headers.etag) +
                                     ", expected 206 with " + Named("ETag", facts_.etag) +
                                     "; the file was replaced while open: open it again"));
    }
    if (!reply.transient || tries == options_.retries) {
      const std::string got = " " + std::to_string(done + reply.received_bytes) + " of " +
                              std::to_string(destination.size()) + " bytes came";
      return Failed(offset, end, WithDetail(reply.status, got + InTries(tries + 1)));
    }
    done += reply.received_bytes;
    Pause(PauseMs(tries, begin, reply.headers), stop);
    if (IsSet(stop)) return Failed(offset, end, Status(ErrorCode::kCancelled, "stopped"));
  }
  return {};
}

Status HttpSource::ReadRange(uint64_t offset, MutableByteSpan destination,
                             const std::atomic<bool>* stop) const {
  const auto end = CheckedAdd(offset, destination.size());
  if (!end || *end > facts_.size) {
    return Status(ErrorCode::kIo, name_ + ": ends at byte " + std::to_string(facts_.size) +
                                      ", a read of " + std::to_string(destination.size()) +
                                      " bytes at byte " + std::to_string(offset) + " passes it");
  }
  if (offset < head_.size()) {
    const size_t size = std::min<size_t>(head_.size() - offset, destination.size());
    std::copy_n(head_.begin() + static_cast<ptrdiff_t>(offset), size, destination.begin());
    offset += size;
    destination = destination.subspan(size);
  }
  return Fetch(offset, destination, stop);
}

Status HttpSource::Read(uint64_t offset, MutableByteSpan destination) const {
  return ReadRange(offset, destination, nullptr);
}

Status HttpSource::ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                                     const std::atomic<bool>& stop) const {
  return ReadRange(offset, destination, &stop);
}

}  // namespace nwc
