// A web server of one file on the loopback, for tests. It answers range requests as it should, or
// as a test wants it: a hook sees every answer before it is sent and may spoil it.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace nwc {

struct TestRequest {
  size_t number = 0;                           // of this server, from 0
  std::string target;                          // path and query
  std::string version;                         // "HTTP/1.1"
  std::map<std::string, std::string> headers;  // names in lower case
  size_t begin = 0, end = 0;                   // of Range, half-open, cut to the file
};

struct TestAnswer {
  std::string version = "HTTP/1.1";
  int status = 206;
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;
  std::optional<size_t> cut_after;  // bytes of the body; then the connection is closed
  int stall_ms = 0;                 // before the body, or after cut_after bytes of it
  bool close = false;               // after the answer
  bool silent = false;              // close without an answer

  void Set(const std::string& name, const std::string& value);  // replaces it
  void Remove(const std::string& name);
};

class HttpTestServer {
 public:
  using Hook = std::function<void(const TestRequest&, TestAnswer*)>;

  explicit HttpTestServer(std::vector<uint8_t> content, Hook hook = {});
  ~HttpTestServer();
  HttpTestServer(const HttpTestServer&) = delete;
  HttpTestServer& operator=(const HttpTestServer&) = delete;

  [[nodiscard]] std::string url(const std::string& target = "/model.nwc") const;
  void SetHook(Hook hook);
  // What is served from now on.
  void Replace(std::vector<uint8_t> content, const std::string& etag);

  [[nodiscard]] size_t connections() const { return connections_; }
  [[nodiscard]] size_t most_at_once() const { return most_at_once_; }  // requests
  [[nodiscard]] std::vector<TestRequest> requests() const;
  [[nodiscard]] size_t request_count() const { return requests().size(); }

 private:
  void Accept();
  void Serve(int connection);
  bool ServeOne(int connection, std::string* input);
  TestAnswer Answer(TestRequest* request);
  bool Send(int connection, const TestRequest& request, const TestAnswer& answer);
  void Sleep(int milliseconds);

  int listener_ = -1;
  int port_ = 0;
  std::atomic<size_t> connections_ = 0, at_once_ = 0, most_at_once_ = 0;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stopped_ = false;
  std::string content_, etag_ = "\"one\"";
  Hook hook_;
  std::vector<TestRequest> requests_;
  std::vector<int> open_;  // connections
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace nwc
