// One HTTP range request at a time on each of a pool of connections, through libcurl. Knows nothing
// of retries and of what the bytes mean.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "format/bytes.h"
#include "format/status.h"
#include "loader/http_headers.h"
#include "loader/remote_options.h"

namespace nwc {

struct HttpRange {
  uint64_t begin = 0, end = 0;  // bytes of the file, half-open, not empty
  std::string if_range;         // a strong tag, or empty
  const std::atomic<bool>* stop = nullptr;
};

struct HttpReply {
  HttpHeaders headers;
  size_t received_bytes = 0;  // of the destination
  Status status;              // without the URL; ok when all the body that was expected came
  bool transient = false;     // worth another try
};

class HttpClient {
 public:
  // kUsage where the options are not possible.
  static Result<std::unique_ptr<HttpClient>> Create(const std::string& url,
                                                    const RemoteOptions& options);
  ~HttpClient();

  // How many bytes the body of a 206 must have, at most the destination's size, or why it is not
  // wanted.
  using Accept = std::function<Result<size_t>(const HttpHeaders&)>;
  // Asks once and follows redirects. `accept` is called before the first byte of a 206. From many
  // threads at once.
  HttpReply Get(const HttpRange& range, const Accept& accept, MutableByteSpan destination);

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace nwc
