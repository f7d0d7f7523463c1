// The HTTP source alone: ranges, validators, retries, and every way a server may misbehave.
#include "loader/http_source.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <random>

#include "tests/loader/http_test_server.h"

namespace nwc {
namespace {

constexpr size_t kFileBytes = 1 << 20;
constexpr size_t kHead = HttpSource::kHeadBytes;
constexpr size_t kAt = 500'000, kSize = 100'000;  // what the tests read

std::vector<uint8_t> RandomBytes(size_t size, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<uint8_t> bytes(size);
  for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
  return bytes;
}

RemoteOptions QuickOptions() {
  RemoteOptions options;
  options.connect_timeout_ms = 2000;
  options.stall_timeout_s = 1;
  options.retries = 2;
  options.first_pause_ms = 1;
  options.longest_pause_ms = 4;
  return options;
}

class HttpSourceTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { setenv("no_proxy", "*", 1); }

  std::unique_ptr<HttpSource> Open(const RemoteOptions& options = QuickOptions()) {
    auto source = HttpSource::Open(server_.url(), options);
    EXPECT_TRUE(source.ok()) << source.status().ToString();
    return source.ok() ? std::move(*source) : nullptr;
  }

  Status OpenStatus(const RemoteOptions& options = QuickOptions()) {
    return HttpSource::Open(server_.url(), options).status();
  }

  // Spoils the answer to request `from` and those after it, below `to`.
  void Spoil(size_t from, size_t to, std::function<void(TestAnswer*)> how) {
    server_.SetHook([=](const TestRequest& request, TestAnswer* answer) {
      if (request.number >= from && request.number < to) how(answer);
    });
  }

  Status Read(const HttpSource& source) {
    bytes_.assign(kSize, 0);
    return source.Read(kAt, bytes_);
  }

  void ExpectGood(const HttpSource& source) {
    const Status status = Read(source);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_TRUE(std::equal(bytes_.begin(), bytes_.end(), content_.begin() + kAt));
  }

  // The read fails with a message that names the URL, the range and `what`; the next one works.
  void ExpectBad(const HttpSource& source, const std::string& what) {
    const Status status = Read(source);
    EXPECT_EQ(status.code(), ErrorCode::kIo) << status.ToString();
    EXPECT_NE(status.message().find(what), std::string::npos) << status.ToString();
    EXPECT_EQ(status.message().find(server_.url() + ": bytes "), 0u) << status.ToString();
    EXPECT_NE(status.message().find("-599999: "), std::string::npos) << status.ToString();
    server_.SetHook({});
    ExpectGood(source);
  }

  std::vector<uint8_t> content_ = RandomBytes(kFileBytes, 1);
  HttpTestServer server_{content_};
  std::vector<uint8_t> bytes_;
};

TEST_F(HttpSourceTest, OneRequestOpensAndServesTheHead) {
  const auto source = Open();
  EXPECT_EQ(source->size(), kFileBytes);
  EXPECT_EQ(source->name(), server_.url());
  EXPECT_EQ(source->descriptor(), -1);
  std::vector<uint8_t> head(kHead);
  ASSERT_TRUE(source->Read(0, head).ok());
  EXPECT_TRUE(std::equal(head.begin(), head.end(), content_.begin()));
  EXPECT_EQ(server_.request_count(), 1u);
  EXPECT_EQ(server_.requests()[0].headers.at("range"), "bytes=0-262143");
}

TEST_F(HttpSourceTest, AReadAsksForWhatTheHeadLacks) {
  const auto source = Open();
  std::vector<uint8_t> all(kFileBytes);
  ASSERT_TRUE(source->Read(0, all).ok());
  EXPECT_EQ(all, content_);
  EXPECT_EQ(server_.requests()[1].begin, kHead);
  EXPECT_EQ(server_.requests()[1].end, kFileBytes);
  EXPECT_EQ(server_.requests()[1].headers.at("if-range"), "\"one\"");
}

TEST_F(HttpSourceTest, ReadsPastTheEndFailWithoutARequest) {
  const auto source = Open();
  std::vector<uint8_t> bytes(10);
  for (const uint64_t at : {uint64_t{kFileBytes - 9}, UINT64_MAX}) {
    EXPECT_EQ(source->Read(at, bytes).code(), ErrorCode::kIo);
  }
  EXPECT_TRUE(source->Read(kFileBytes, MutableByteSpan()).ok());
  EXPECT_EQ(server_.request_count(), 1u);
}

TEST_F(HttpSourceTest, SmallAndEmptyFiles) {
  for (const size_t size : {size_t{0}, size_t{1}, kHead}) {
    server_.Replace(RandomBytes(size, 2), "\"small\"");
    const auto source = Open();
    ASSERT_NE(source, nullptr);
    EXPECT_EQ(source->size(), size);
    std::vector<uint8_t> all(size);
    EXPECT_TRUE(source->Read(0, all).ok());
    EXPECT_EQ(all, RandomBytes(size, 2));
  }
}

TEST_F(HttpSourceTest, ConnectionsAreUsedAgain) {
  const auto source = Open();
  for (int i = 0; i < 20; ++i) ExpectGood(*source);
  EXPECT_EQ(server_.request_count(), 21u);
  EXPECT_EQ(server_.connections(), 1u);
}

TEST_F(HttpSourceTest, ManyThreadsReadAtOnceOnAConnectionEach) {
  const auto source = Open();
  Spoil(0, SIZE_MAX, [](TestAnswer* a) { a->stall_ms = 20; });
  std::vector<std::thread> threads;
  std::atomic<int> good = 0;
  for (size_t t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      std::vector<uint8_t> bytes(30'000);
      for (size_t i = 0; i < 5; ++i) {
        const size_t at = kHead + (t * 5 + i) * 10'000;
        if (!source->Read(at, bytes).ok()) return;
        if (!std::equal(bytes.begin(), bytes.end(), &content_[at])) return;
      }
      ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  EXPECT_GE(server_.most_at_once(), 4u);
  EXPECT_LE(server_.connections(), 9u);
}

TEST_F(HttpSourceTest, BrokenTriesAreRepeatedFromTheBytesThatCame) {
  const auto source = Open();
  Spoil(1, 2, [](TestAnswer* a) { a->cut_after = 40'000; });
  ExpectGood(*source);
  EXPECT_EQ(server_.requests()[2].begin, kAt + 40'000);
  EXPECT_EQ(server_.requests()[2].headers.at("if-range"), "\"one\"");
}

TEST_F(HttpSourceTest, AHeadThatBreaksIsRepeatedFromTheBytesThatCame) {
  Spoil(0, 1, [](TestAnswer* a) { a->cut_after = 1000; });
  const auto source = Open();
  ASSERT_NE(source, nullptr);
  EXPECT_EQ(server_.requests()[1].begin, 1000u);
  std::vector<uint8_t> head(kHead);
  ASSERT_TRUE(source->Read(0, head).ok());
  EXPECT_TRUE(std::equal(head.begin(), head.end(), content_.begin()));
}

TEST_F(HttpSourceTest, TroubleThatPassesIsNoError) {
  const std::vector<std::function<void(TestAnswer*)>> troubles = {
      [](TestAnswer* a) { a->silent = true; },
      [](TestAnswer* a) { a->cut_after = 0; },
      [](TestAnswer* a) { a->status = 503; },
      [](TestAnswer* a) { a->status = 500; },
      [](TestAnswer* a) { a->status = 408; },
      [](TestAnswer* a) { a->stall_ms = 20'000; },
      [](TestAnswer* a) {
        a->Remove("Content-Length");  // the body ends with the connection
        a->cut_after = 10;
      },
  };
  for (const auto& trouble : troubles) {
    const auto source = Open();
    const size_t next = server_.request_count();
    Spoil(next, next + 1, trouble);
    ExpectGood(*source);
    EXPECT_EQ(server_.request_count(), next + 2);
    server_.SetHook({});
  }
}

TEST_F(HttpSourceTest, TroubleWhileOpeningIsNoError) {
  Spoil(0, 1, [](TestAnswer* a) { a->status = 503; });
  EXPECT_NE(Open(), nullptr);
  Spoil(2, 3, [](TestAnswer* a) { a->silent = true; });
  EXPECT_NE(Open(), nullptr);
}

TEST_F(HttpSourceTest, RetryAfterIsWaitedFor) {
  const auto source = Open();
  Spoil(1, 2, [](TestAnswer* a) {
    a->status = 429;
    a->Set("Retry-After", "1");
  });
  const auto begin = std::chrono::steady_clock::now();
  ExpectGood(*source);
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(990));
}

TEST_F(HttpSourceTest, TroubleThatStaysIsAnErrorAfterTheLastTry) {
  const auto source = Open();
  Spoil(0, SIZE_MAX, [](TestAnswer* a) { a->status = 503; });
  ExpectBad(*source, "answered 503, expected 206; 0 of 100000 bytes came in 3 tries");
  EXPECT_EQ(server_.request_count(), 5u);
  Spoil(0, SIZE_MAX, [](TestAnswer* a) { a->cut_after = 10; });
  ExpectBad(*source, "30 of 100000 bytes came in 3 tries");
  Spoil(0, SIZE_MAX, [](TestAnswer* a) { a->silent = true; });
  ExpectBad(*source, "0 of 100000 bytes came in 3 tries");
  Spoil(0, SIZE_MAX, [](TestAnswer* a) { a->stall_ms = 20'000; });
  ExpectBad(*source, "imeout was reached; 0 of 100000 bytes came in 3 tries");
}

TEST_F(HttpSourceTest, RefusalsAreNotRepeated) {
  for (const int status : {400, 401, 403, 416}) {
    const auto source = Open();
    const size_t before = server_.request_count();
    Spoil(0, SIZE_MAX, [=](TestAnswer* a) { a->status = status; });
    ExpectBad(*source, "answered " + std::to_string(status));
    EXPECT_EQ(server_.request_count(), before + 2);
  }
  Spoil(0, SIZE_MAX, [=](TestAnswer* a) { a->status = 404; });
  EXPECT_EQ(OpenStatus().code(), ErrorCode::kNotFound);
}

TEST_F(HttpSourceTest, ARefusalsPageKeepsTheConnection) {
  const auto source = Open();
  Spoil(1, 2, [](TestAnswer* a) {
    a->status = 503;
    a->body = "<html>busy</html>";
    a->Set("Content-Length", "17");
  });
  ExpectGood(*source);
  EXPECT_EQ(server_.connections(), 1u);
}

TEST_F(HttpSourceTest, WrongAnswersAreErrors) {
  const std::vector<std::pair<std::function<void(TestAnswer*)>, std::string>> wrong = {
      {[](TestAnswer* a) { a->status = 200; }, "answered 200, expected 206"},
      {[](TestAnswer* a) { a->status = 204; }, "answered 204, expected 206"},
      {[](TestAnswer* a) { a->Set("Content-Range", "bytes 0-99999/1048576"); },
       "Content-Range 0-99999/1048576, expected 500000-599999/1048576"},
      {[](TestAnswer* a) { a->Set("Content-Range", "bytes 500000-599998/1048576"); },
       "Content-Range 500000-599998/1048576, expected 500000-599999/1048576"},
      {[](TestAnswer* a) { a->Set("Content-Range", "bytes 500000-599999/1048577"); },
       "a file of 1048577 bytes, expected 1048576; the file was replaced"},
      {[](TestAnswer* a) { a->Set("Content-Range", "bytes x"); }, "a malformed header: 'Content-R"},
      {[](TestAnswer* a) { a->Remove("Content-Range"); }, "no Content-Range"},
      {[](TestAnswer* a) { a->Set("Content-Length", "99999"); },
       "Content-Length 99999, expected 100000"},
      {[](TestAnswer* a) { a->Set("Content-Length", "100001"); },
       "Content-Length 100001, expected 100000"},
      {[](TestAnswer* a) { a->Set("ETag", "\"two\""); },
       "ETag \"two\", expected ETag \"one\"; the file was replaced while open"},
      {[](TestAnswer* a) { a->Remove("ETag"); }, "ETag (none), expected ETag \"one\""},
      {[](TestAnswer* a) {
         a->Remove("Content-Length");
         a->body += "more";
         a->close = true;
       },
       "more than the 100000 bytes asked for came"},
      {[](TestAnswer* a) {
         for (int i = 0; i < 100; ++i) a->headers.emplace_back("X", std::string(1000, 'x'));
       },
       "headers of more than 65536 bytes"},
  };
  for (const auto& [how, what] : wrong) {
    const auto source = Open();
    const size_t before = server_.request_count();
    Spoil(0, SIZE_MAX, how);
    ExpectBad(*source, what);
    EXPECT_EQ(server_.request_count(), before + 2) << what;
  }
}

TEST_F(HttpSourceTest, WrongAnswersWhileOpeningAreErrors) {
  const std::vector<std::pair<std::function<void(TestAnswer*)>, std::string>> wrong = {
      {[](TestAnswer* a) { a->status = 200; }, "the server does not know ranges"},
      {[](TestAnswer* a) { a->Set("Content-Range", "bytes 0-262143/*"); }, "how large the file is"},
      {[](TestAnswer* a) { a->Set("Content-Range", "bytes 1-262144/1048576"); }, "expected 0-"},
      {[](TestAnswer* a) { a->Set("Content-Range", "bytes 0-262143/18446744073709551616"); },
       "a malformed header"},
      {[](TestAnswer* a) { a->Set("Content-Length", "5"); }, "Content-Length 5, expected 262144"},
  };
  for (const auto& [how, what] : wrong) {
    Spoil(0, SIZE_MAX, how);
    const Status status = OpenStatus();
    EXPECT_EQ(status.code(), ErrorCode::kIo);
    EXPECT_EQ(status.message().find(server_.url() + ": bytes 0-"), 0u) << status.ToString();
    EXPECT_NE(status.message().find(what), std::string::npos) << status.ToString();
  }
}

TEST_F(HttpSourceTest, OlderServersAreFine) {
  Spoil(0, SIZE_MAX, [](TestAnswer* a) {
    a->version = "HTTP/1.0";
    a->Remove("ETag");
    a->Remove("Last-Modified");
    a->Remove("Content-Length");
    a->close = true;
  });
  const auto source = Open();
  ASSERT_NE(source, nullptr);
  ExpectGood(*source);
  EXPECT_EQ(server_.requests()[1].headers.count("if-range"), 0u);
}

TEST_F(HttpSourceTest, AReplacedFileIsAnErrorAndNeverAMixture) {
  const auto source = Open();
  const auto other = RandomBytes(kFileBytes, 9);
  Spoil(1, 2, [this, other](TestAnswer* a) {
    a->cut_after = 40'000;
    server_.Replace(other, "\"two\"");
  });
  for (int i = 0; i < 2; ++i) {
    const Status status = Read(*source);
    EXPECT_EQ(status.code(), ErrorCode::kIo);
    EXPECT_NE(status.message().find("answered 200 with ETag \"two\", expected 206 with ETag "
                                    "\"one\"; the file was replaced while open: open it again"),
              std::string::npos)
        << status.ToString();
  }
  content_ = other;
  ExpectGood(*Open());
}

TEST_F(HttpSourceTest, WeakTagsAndDatesAreComparedAndNotSent) {
  const auto weak = [](const char* tag, const char* date) {
    return [=](TestAnswer* a) {
      a->Set("ETag", tag);
      a->Set("Last-Modified", date);
    };
  };
  Spoil(0, SIZE_MAX, weak("W/\"a\"", "Monday"));
  const auto source = Open();
  ExpectGood(*source);
  EXPECT_EQ(server_.requests()[1].headers.count("if-range"), 0u);
  Spoil(0, SIZE_MAX, weak("W/\"b\"", "Monday"));
  EXPECT_NE(Read(*source).message().find("ETag W/\"b\", expected ETag W/\"a\""), std::string::npos);
  Spoil(0, SIZE_MAX, weak("W/\"a\"", "Tuesday"));
  EXPECT_NE(Read(*source).message().find("Last-Modified Tuesday, expected Last-Modified Monday"),
            std::string::npos);
  Spoil(0, SIZE_MAX, weak("W/\"a\"", "Monday"));
  ExpectGood(*source);
}

TEST_F(HttpSourceTest, RedirectsAreFollowedToWebServersOnlyAndNotForEver) {
  const auto redirect = [this](std::string to) {
    server_.SetHook([=](const TestRequest& request, TestAnswer* a) {
      if (request.target == "/real.nwc") return;
      a->status = 302;
      a->Set("Location", to);
    });
  };
  redirect("/real.nwc");
  const auto source = Open();
  ASSERT_NE(source, nullptr);
  ExpectGood(*source);
  EXPECT_EQ(source->name(), server_.url());
  redirect("/model.nwc");
  const size_t before = server_.request_count();
  EXPECT_EQ(OpenStatus().code(), ErrorCode::kIo);
  EXPECT_EQ(server_.request_count(), before + 9);
  redirect("file:///etc/passwd");
  EXPECT_EQ(OpenStatus().code(), ErrorCode::kIo);
}

TEST_F(HttpSourceTest, MessagesHoldNoSecrets) {
  Spoil(0, SIZE_MAX, [](TestAnswer* a) { a->status = 403; });
  std::string url = server_.url("/m.nwc?X-Amz-Signature=secret");
  url.insert(7, "user:secret@");
  const Status status = HttpSource::Open(url, QuickOptions()).status();
  EXPECT_EQ(status.message().find("secret"), std::string::npos) << status.ToString();
  EXPECT_EQ(status.message().find(server_.url("/m.nwc") + ": "), 0u) << status.ToString();
  EXPECT_EQ(server_.requests()[0].target, "/m.nwc?X-Amz-Signature=secret");
}

TEST_F(HttpSourceTest, NobodyListeningIsAnIoError) {
  const Status status =
      HttpSource::Open("http://127.0.0.1:1/m.nwc?secret", QuickOptions()).status();
  EXPECT_EQ(status.code(), ErrorCode::kIo);
  EXPECT_NE(status.message().find("in 3 tries"), std::string::npos) << status.ToString();
  EXPECT_EQ(status.message().find("secret"), std::string::npos) << status.ToString();
}

TEST_F(HttpSourceTest, StoppingEndsAReadThatStalls) {
  RemoteOptions options = QuickOptions();
  options.stall_timeout_s = 60;
  const auto source = Open(options);
  Spoil(0, SIZE_MAX, [](TestAnswer* a) { a->stall_ms = 30'000; });
  std::atomic<bool> stop = false;
  std::thread stopper([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    stop = true;
  });
  bytes_.assign(kSize, 0);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(source->ReadUnlessStopped(kAt, bytes_, stop).code(), ErrorCode::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  stopper.join();
}

TEST_F(HttpSourceTest, OwnHeadersAreSent) {
  RemoteOptions options = QuickOptions();
  options.headers = {"Authorization: Bearer token"};
  ExpectGood(*Open(options));
  for (const TestRequest& request : server_.requests()) {
    EXPECT_EQ(request.headers.at("authorization"), "Bearer token");
  }
  options.headers = {"A: b\r\nC: d"};
  EXPECT_EQ(OpenStatus(options).code(), ErrorCode::kUsage);
}

TEST_F(HttpSourceTest, SignedRequestsNeedCredentialsAndFollowNoRedirect) {
  RemoteOptions options = QuickOptions();
  options.aws_sigv4 = "aws:amz:eu-central-1:s3";
  unsetenv("AWS_ACCESS_KEY_ID");
  EXPECT_EQ(OpenStatus(options).code(), ErrorCode::kUsage);
  setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "secret", 1);
  setenv("AWS_SESSION_TOKEN", "token", 1);
  ExpectGood(*Open(options));
  const auto headers = server_.requests()[1].headers;
  EXPECT_EQ(headers.at("authorization").find("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"), 0u)
      << headers.at("authorization");
  EXPECT_NE(headers.at("authorization").find("x-amz-security-token"), std::string::npos);
  EXPECT_EQ(headers.at("x-amz-security-token"), "token");
  EXPECT_EQ(headers.at("x-amz-content-sha256").size(), 64u);
  Spoil(0, SIZE_MAX, [](TestAnswer* a) {
    a->status = 307;
    a->Set("Location", "/other.nwc");
  });
  EXPECT_NE(OpenStatus(options).message().find("answered 307"), std::string::npos);
  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}) {
    unsetenv(name);
  }
}

TEST_F(HttpSourceTest, ImpossibleOptionsAreUsageErrors) {
  RemoteOptions options = QuickOptions();
  options.parallel_ranges = 0;
  EXPECT_EQ(OpenStatus(options).code(), ErrorCode::kUsage);
  options = QuickOptions();
  options.stall_timeout_s = 0;
  EXPECT_EQ(OpenStatus(options).code(), ErrorCode::kUsage);
}

}  // namespace
}  // namespace nwc
