#include "tests/loader/http_test_server.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <stdexcept>

namespace nwc {
namespace {

std::string LowerCase(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

bool SendAll(int connection, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(sent));
  }
  return true;
}

TestRequest Parse(const std::string& text) {
  TestRequest request;
  size_t line = text.find("\r\n");
  const std::string first = text.substr(0, line);
  const size_t target = first.find(' ') + 1, version = first.rfind(' ');
  request.target = first.substr(target, version - target);
  request.version = first.substr(version + 1);
  while (line + 2 < text.size()) {
    const size_t begin = line + 2, colon = text.find(": ", begin);
    line = text.find("\r\n", begin);
    if (colon == std::string::npos || colon > line) break;
    request.headers[LowerCase(text.substr(begin, colon - begin))] =
        text.substr(colon + 2, line - colon - 2);
  }
  return request;
}

}  // namespace

void TestAnswer::Set(const std::string& name, const std::string& value) {
  Remove(name);
  headers.emplace_back(name, value);
}

void TestAnswer::Remove(const std::string& name) {
  std::erase_if(headers, [&](const auto& header) { return header.first == name; });
}

HttpTestServer::HttpTestServer(std::vector<uint8_t> content, Hook hook)
    : content_(content.begin(), content.end()), hook_(std::move(hook)) {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* any = reinterpret_cast<sockaddr*>(&address);
  if (listener_ < 0 || bind(listener_, any, size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, any, &size) != 0) {
    throw std::runtime_error("no port to listen on");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { Accept(); });
}

HttpTestServer::~HttpTestServer() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    for (const int connection : open_) shutdown(connection, SHUT_RDWR);
  }
  wake_.notify_all();
  shutdown(listener_, SHUT_RDWR);
  acceptor_.join();
  for (std::thread& thread : threads_) thread.join();
  close(listener_);
}

std::string HttpTestServer::url(const std::string& target) const {
  return "http://127.0.0.1:" + std::to_string(port_) + target;
}

void HttpTestServer::SetHook(Hook hook) {
  const std::lock_guard lock(mutex_);
  hook_ = std::move(hook);
}

void HttpTestServer::Replace(std::vector<uint8_t> content, const std::string& etag) {
  const std::lock_guard lock(mutex_);
  content_.assign(content.begin(), content.end());
  etag_ = etag;
}

std::vector<TestRequest> HttpTestServer::requests() const {
  const std::lock_guard lock(mutex_);
  return requests_;
}

void HttpTestServer::Accept() {
  while (true) {
    const int connection = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection < 0) return;
    const std::lock_guard lock(mutex_);
    if (stopped_) {
      close(connection);
      return;
    }
    ++connections_;
    open_.push_back(connection);
    threads_.emplace_back([this, connection] { Serve(connection); });
  }
}

void HttpTestServer::Serve(int connection) {
  std::string input;
  while (ServeOne(connection, &input)) {
  }
  const std::lock_guard lock(mutex_);
  std::erase(open_, connection);
  close(connection);
}

bool HttpTestServer::ServeOne(int connection, std::string* input) {
  size_t end;
  while ((end = input->find("\r\n\r\n")) == std::string::npos) {
    char buffer[4096];
    const ssize_t got = recv(connection, buffer, sizeof buffer, 0);
    if (got <= 0) return false;
    input->append(buffer, static_cast<size_t>(got));
  }
  TestRequest request = Parse(input->substr(0, end + 2));
  input->erase(0, end + 4);
  const size_t now = ++at_once_;
  for (size_t most = most_at_once_;
       now > most && !most_at_once_.compare_exchange_weak(most, now);) {
  }
  const TestAnswer answer = Answer(&request);
  const bool goes_on = Send(connection, request, answer);
  --at_once_;
  return goes_on;
}

TestAnswer HttpTestServer::Answer(TestRequest* request) {
  std::unique_lock lock(mutex_);
  TestAnswer answer;
  const std::string range = request->headers["range"];  // "bytes=A-B"
  const size_t dash = range.find('-');
  if (dash != std::string::npos) {
    request->begin = std::min<size_t>(std::stoull(range.substr(6)), content_.size());
    request->end = std::min<size_t>(std::stoull(range.substr(dash + 1)) + 1, content_.size());
  }
  const auto if_range = request->headers.find("if-range");
  const bool whole = dash == std::string::npos ||
                     (if_range != request->headers.end() && if_range->second != etag_);
  const std::string total = std::to_string(content_.size());
  if (whole) {
    answer.status = 200;
    answer.body = content_;
  } else if (request->begin == request->end) {
    answer.status = 416;
    answer.Set("Content-Range", "bytes */" + total);
  } else {
    answer.body = content_.substr(request->begin, request->end - request->begin);
    answer.Set("Content-Range", "bytes " + std::to_string(request->begin) + "-" +
                                    std::to_string(request->end - 1) + "/" + total);
  }
  answer.Set("ETag", etag_);
  answer.Set("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT");
  answer.Set("Content-Length", std::to_string(answer.body.size()));
  request->number = requests_.size();
  requests_.push_back(*request);
  const Hook hook = hook_;
  lock.unlock();
  if (hook) hook(*request, &answer);
  return answer;
}

// False when the connection ends.
bool HttpTestServer::Send(int connection, const TestRequest& request, const TestAnswer& answer) {
  if (answer.silent) return false;
  std::string head = answer.version + " " + std::to_string(answer.status) + " Whatever\r\n";
  for (const auto& [name, value] : answer.headers) head += name + ": " + value + "\r\n";
  if (!SendAll(connection, head + "\r\n")) return false;
  const std::string_view body = answer.body;
  const size_t first = answer.cut_after.value_or(answer.stall_ms == 0 ? body.size() : 0);
  if (!SendAll(connection, body.substr(0, first))) return false;
  if (answer.stall_ms != 0) Sleep(answer.stall_ms);
  if (answer.cut_after) return false;
  return SendAll(connection, body.substr(first)) && !answer.close && request.version == "HTTP/1.1";
}

void HttpTestServer::Sleep(int milliseconds) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, std::chrono::milliseconds(milliseconds), [this] { return stopped_; });
}

}  // namespace nwc
