// A file on a web server, read with range requests.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "loader/byte_source.h"
#include "loader/http_client.h"

namespace nwc {

// The file stays the one that was opened: every answer is held against its size, ETag and
// Last-Modified, so a file that was replaced is kIo, never a mixture. Errors name the URL without
// user, password and query, and the bytes that were asked for.
class HttpSource : public ByteSource {
 public:
  static constexpr size_t kHeadBytes = 256 << 10;

  // One request, for the first kHeadBytes, which are kept: a container's superblock, and all of a
  // small file. kNotFound for 404 and 410, kUsage for impossible options, else kIo.
  static Result<std::unique_ptr<HttpSource>> Open(const std::string& url,
                                                  const RemoteOptions& options);

  [[nodiscard]] uint64_t size() const override { return facts_.size; }
  // One request, without what the head has; more after a failure (RemoteOptions::retries).
  Status Read(uint64_t offset, MutableByteSpan destination) const override;
  Status ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                           const std::atomic<bool>& stop) const override;
  [[nodiscard]] ReadTraits traits() const override;
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  // Of the file, from the first answer.
  struct Facts {
    uint64_t size = 0;
    std::string etag, last_modified;
  };

  HttpSource(std::string name, const RemoteOptions& options, std::unique_ptr<HttpClient> client)
      : name_(std::move(name)), options_(options), client_(std::move(client)) {}

  Status ReadHead();
  Status ReadRange(uint64_t offset, MutableByteSpan destination,
                   const std::atomic<bool>* stop) const;
  Status Fetch(uint64_t offset, MutableByteSpan destination, const std::atomic<bool>* stop) const;
  Status Compare(const HttpHeaders& headers) const;
  [[nodiscard]] Status Failed(uint64_t begin, uint64_t end, const Status& status) const;
  [[nodiscard]] int PauseMs(int tries, uint64_t offset, const HttpHeaders& headers) const;

  std::string name_;
  RemoteOptions options_;
  std::unique_ptr<HttpClient> client_;  // thread-safe
  Facts facts_;
  std::vector<uint8_t> head_;  // the first bytes of the file
};

}  // namespace nwc
