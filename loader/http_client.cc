#include "loader/http_client.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <string_view>
#include <vector>

#include "loader/http_url.h"

namespace nwc {
namespace {

constexpr size_t kMaxHeaderBytes = 64 << 10;
constexpr size_t kMaxIgnoredBody = 64 << 10;  // of an error's page; keeps the connection usable
constexpr long kMaxRedirects = 8;

struct FreeHandle {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
struct FreeList {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using Handle = std::unique_ptr<CURL, FreeHandle>;
using HeaderList = std::unique_ptr<curl_slist, FreeList>;

Status Append(const std::string& line, HeaderList* list) {
  curl_slist* const longer = curl_slist_append(list->get(), line.c_str());
  if (longer == nullptr) return Status(ErrorCode::kOutOfMemory, "no memory");
  (void)list->release();
  list->reset(longer);
  return {};
}

bool LibraryReady() {
  static const bool kReady = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return kReady;
}

bool IsTransient(int status) { return status == 408 || status == 429 || status >= 500; }

bool IsTransient(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

Status Refused(int status) {
  const std::string code = std::to_string(status);
  switch (status) {
    case 200:
      return Status(ErrorCode::kIo, "answered 200, expected 206: the server does not know ranges");
    case 401:
    case 403:
      return Status(ErrorCode::kIo,
                    "answered " + code + ": no permission, or a signed URL expired");
    case 404:
    case 410:
      return Status(ErrorCode::kNotFound, "answered " + code + ": not there");
    case 416:
      return Status(ErrorCode::kIo, "answered 416, expected 206: the file is shorter");
    default:
      return Status(ErrorCode::kIo, "answered " + code + ", expected 206");
  }
}

// The state of one Get, which libcurl's callbacks see. They are C functions: nothing may be thrown.
struct Transfer {
  const HttpClient::Accept* accept = nullptr;
  MutableByteSpan destination;
  const std::atomic<bool>* stop = nullptr;
  HttpReply reply;
  size_t header_bytes = 0;
  size_t ignored_bytes = 0;
  std::optional<size_t> expected;  // bytes of the body, once accepted
  bool begun = false;              // the answer is judged

  bool Fail(Status status) {
    if (reply.status.ok()) reply.status = std::move(status);
    return false;
  }

  bool Begin() {
    begun = true;
    const HttpHeaders& headers = reply.headers;
    if (headers.status != 206) {
      reply.transient = IsTransient(headers.status);
      return Fail(Refused(headers.status));
    }
    if (!headers.malformed.empty()) {
      return Fail(Status(ErrorCode::kIo, "a malformed header: '" + headers.malformed + "'"));
    }
    auto size = (*accept)(headers);
    if (!size.ok()) return Fail(size.status());
    expected = *size;
    return true;
  }

  // Another answer follows an interim one or a redirect.
  bool AddHeader(std::string_view line) {
    header_bytes += line.size();
    if (header_bytes > kMaxHeaderBytes) {
      return Fail(Status(ErrorCode::kIo,
                         "headers of more than " + std::to_string(kMaxHeaderBytes) + " bytes"));
    }
    AddHeaderLine(line, &reply.headers);
    return true;
  }

  bool AddBody(ByteSpan bytes) {
    if (!begun) Begin();
    if (!expected) {
      ignored_bytes += bytes.size();
      return reply.headers.status != 200 && reply.headers.status != 206 &&
             ignored_bytes <= kMaxIgnoredBody;
    }
    if (bytes.size() > *expected - reply.received_bytes) {
      return Fail(Status(ErrorCode::kIo,
                         "more than the " + std::to_string(*expected) + " bytes asked for came"));
    }
    std::memcpy(destination.data() + reply.received_bytes, bytes.data(), bytes.size());
    reply.received_bytes += bytes.size();
    return true;
  }

  // After the transfer; `detail` is libcurl's message, which may be empty.
  void Finish(CURLcode code, const std::string& detail) {
    if (code == CURLE_OK && !begun) Begin();
    if (stop != nullptr && *stop) {
      reply.status = Status(ErrorCode::kCancelled, "stopped");
      reply.transient = false;
      return;
    }
    if (!reply.status.ok()) return;  // an answer that was refused
    if (code != CURLE_OK) {
      const bool memory = code == CURLE_OUT_OF_MEMORY;
      reply.transient = IsTransient(code);
      reply.status = Status(memory ? ErrorCode::kOutOfMemory : ErrorCode::kIo, detail);
    } else if (reply.received_bytes < *expected) {
      reply.transient = true;
      reply.status = Status(ErrorCode::kIo, "the answer ended early");
    }
  }
};

template <typename Body>
size_t Guarded(Transfer* transfer, size_t size, const Body& body) {
  try {
    return body() ? size : 0;
  } catch (const std::bad_alloc&) {
    transfer->reply.status = Status(ErrorCode::kOutOfMemory, "no memory");
    return 0;
  }
}

size_t OnHeader(char* data, size_t one, size_t size, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  return Guarded(transfer, one * size, [&] { return transfer->AddHeader({data, one * size}); });
}

size_t OnBody(char* data, size_t one, size_t size, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  const ByteSpan bytes(reinterpret_cast<const uint8_t*>(data), one * size);
  return Guarded(transfer, bytes.size(), [&] { return transfer->AddBody(bytes); });
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto* transfer = static_cast<const Transfer*>(user);
  return transfer->stop != nullptr && *transfer->stop ? 1 : 0;
}

// libcurl's own text says which host or certificate, but may quote the URL for other errors.
std::string Detail(CURLcode code, const char* text) {
  const bool harmless = code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ||
                        code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CONNECT_ERROR;
  return harmless && *text != '\0' ? text : curl_easy_strerror(code);
}

struct Credentials {
  std::string user, password;  // of AWS
};

// Adds to the headers what libcurl leaves to its caller: the hash of the body, which S3 wants to
// see and which is empty, and the session's token, if there is one.
Result<Credentials> ReadCredentials(std::vector<std::string>* headers) {
  const char* user = std::getenv("AWS_ACCESS_KEY_ID");
  const char* password = std::getenv("AWS_SECRET_ACCESS_KEY");
  if (user == nullptr || password == nullptr) {
    return Status(ErrorCode::kUsage,
                  "signing needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment");
  }
  headers->push_back(
      "x-amz-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  const char* token = std::getenv("AWS_SESSION_TOKEN");
  if (token != nullptr) headers->push_back(std::string("x-amz-security-token: ") + token);
  return Credentials{user, password};
}

}  // namespace

struct HttpClient::Impl {
  std::string url;
  RemoteOptions options;
  std::vector<std::string> headers;  // of every request
  std::optional<Credentials> credentials;
  std::string certificates;  // file; empty: the system's

  std::mutex mutex;
  std::vector<Handle> idle;  // each holds its connection open

  Result<Handle> Take();
  void GiveBack(Handle handle);
  [[nodiscard]] bool Configure(CURL* handle) const;
};

bool HttpClient::Impl::Configure(CURL* handle) const {
  CURLcode worst = CURLE_OK;
  const auto set = [&](CURLoption option, auto value) {
    const CURLcode code = curl_easy_setopt(handle, option, value);
    if (code != CURLE_OK) worst = code;
  };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  // Never from an encrypted connection to a plain one.
  set(CURLOPT_REDIR_PROTOCOLS_STR, url[4] == ':' ? "http,https" : "https");
  set(CURLOPT_FOLLOWLOCATION, credentials ? 0L : 1L);
  set(CURLOPT_MAXREDIRS, kMaxRedirects);
  set(CURLOPT_NOSIGNAL, 1L);  // signals and threads do not go together
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout_ms));
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, static_cast<long>(options.stall_timeout_s));
  set(CURLOPT_BUFFERSIZE, 512L << 10);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_USERAGENT, "nwc");
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_HEADERFUNCTION, &OnHeader);
  set(CURLOPT_WRITEFUNCTION, &OnBody);
  set(CURLOPT_XFERINFOFUNCTION, &OnProgress);
  if (!certificates.empty()) set(CURLOPT_CAINFO, certificates.c_str());
  if (credentials) {
    set(CURLOPT_AWS_SIGV4, options.aws_sigv4.c_str());
    set(CURLOPT_USERNAME, credentials->user.c_str());
    set(CURLOPT_PASSWORD, credentials->password.c_str());
  }
  return worst == CURLE_OK;
}

Result<Handle> HttpClient::Impl::Take() {
  {
    const std::lock_guard lock(mutex);
    if (!idle.empty()) {
      Handle handle = std::move(idle.back());  // the last used: its connection is the freshest
      idle.pop_back();
      return handle;
    }
  }
  Handle handle(curl_easy_init());
  if (handle == nullptr || !Configure(handle.get())) {
    return Status(ErrorCode::kIo, "libcurl refuses a connection's options");
  }
  return handle;
}

void HttpClient::Impl::GiveBack(Handle handle) {
  const std::lock_guard lock(mutex);
  if (idle.size() < options.parallel_ranges) idle.push_back(std::move(handle));
}

HttpClient::HttpClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::Create(const std::string& url,
                                                       const RemoteOptions& options) {
  if (!LibraryReady()) return Status(ErrorCode::kInternal, "libcurl does not start");
  if (options.connect_timeout_ms <= 0 || options.stall_timeout_s <= 0 || options.retries < 0 ||
      options.first_pause_ms < 0 || options.longest_pause_ms < 0 || options.parallel_ranges == 0) {
    return Status(ErrorCode::kUsage, "remote options: a time or number that is not possible");
  }
  auto impl = std::make_unique<Impl>();
  impl->url = url;
  impl->options = options;
  impl->headers = options.headers;
  if (options.aws_sigv4.empty()) {
    impl->headers.push_back("Accept-Encoding: identity");
  } else {  // all headers are signed: none that something on the way might change
    NWC_ASSIGN_OR_RETURN(impl->credentials, ReadCredentials(&impl->headers));
  }
  for (const char* name : {"SSL_CERT_FILE", "CURL_CA_BUNDLE"}) {
    if (const char* file = std::getenv(name); file != nullptr) impl->certificates = file;
  }
  for (const std::string& header : impl->headers) {
    if (header.find_first_of("\r\n") != std::string::npos) {
      return Status(ErrorCode::kUsage, "remote options: a header of more than one line");
    }
  }
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(impl)));
}

HttpReply HttpClient::Get(const HttpRange& range, const Accept& accept,
                          MutableByteSpan destination) {
  Transfer transfer;
  transfer.accept = &accept;
  transfer.destination = destination;
  transfer.stop = range.stop;
  HeaderList headers;
  Status status;
  for (const std::string& line : impl_->headers) {
    if (status.ok()) status = Append(line, &headers);
  }
  if (status.ok() && !range.if_range.empty()) {
    status = Append("If-Range: " + range.if_range, &headers);
  }
  auto handle = status.ok() ? impl_->Take() : Result<Handle>(status);
  if (!handle.ok()) {
    transfer.reply.status = handle.status();
    return transfer.reply;
  }
  std::array<char, CURL_ERROR_SIZE> text{};
  const std::string bytes = std::to_string(range.begin) + "-" + std::to_string(range.end - 1);
  CURL* const curl = handle->get();
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_RANGE, bytes.c_str());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text.data());
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  const CURLcode code = curl_easy_perform(curl);
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);  // it ends with this function
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, nullptr);
  transfer.Finish(code, Detail(code, text.data()));
  // A connection goes on after an answer that ended where it should, an error's page too. After any
  // other, what still comes on it belongs to no answer.
  const bool in_step =
      transfer.reply.status.ok() || (code == CURLE_OK && transfer.reply.headers.status >= 400);
  if (in_step) impl_->GiveBack(std::move(*handle));
  return std::move(transfer.reply);
}

}  // namespace nwc
