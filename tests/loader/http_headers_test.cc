#include "loader/http_headers.h"

#include <gtest/gtest.h>

#include "loader/http_url.h"

namespace nwc {
namespace {

HttpHeaders Parse(std::initializer_list<const char*> lines) {
  HttpHeaders headers;
  for (const char* line : lines) AddHeaderLine(line, &headers);
  return headers;
}

TEST(HttpHeaders, AnAnswerToARangeRequest) {
  const HttpHeaders h =
      Parse({"HTTP/1.1 206 Partial Content\r\n", "Content-Length: 100\r\n",
             "content-range:bytes 0-99/1234\r\n", "ETAG: \"a b\"\r\n",
             "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Server: x\r\n", "\r\n"});
  EXPECT_EQ(h.status, 206);
  EXPECT_EQ(h.content_length, 100u);
  EXPECT_EQ(h.content_range, (ContentRange{0, 100, 1234}));
  EXPECT_EQ(h.etag, "\"a b\"");
  EXPECT_EQ(h.last_modified, "Sun, 06 Nov 1994 08:49:37 GMT");
  EXPECT_FALSE(h.retry_after_seconds);
  EXPECT_EQ(h.malformed, "");
}

TEST(HttpHeaders, StatusLines) {
  EXPECT_EQ(Parse({"HTTP/2 206"}).status, 206);
  EXPECT_EQ(Parse({"HTTP/1.0 503"}).status, 503);
  for (const char* bad : {"HTTP/1.1", "HTTP/1.1 ", "HTTP/1.1 99", "HTTP/1.1 600", "HTTP/1.1 2x6",
                          "HTTP/1.1 -206", "HTTP/1.1 99999999999999999999"}) {
    const HttpHeaders h = Parse({bad});
    EXPECT_EQ(h.status, 0) << bad;
    EXPECT_FALSE(h.malformed.empty()) << bad;
  }
}

TEST(HttpHeaders, AStatusLineForgetsTheRedirect) {
  const HttpHeaders h = Parse({"HTTP/1.1 302 Found", "ETag: \"redirect\"", "Content-Length: 7", "",
                               "HTTP/1.1 206 x", "ETag: \"file\""});
  EXPECT_EQ(h.status, 206);
  EXPECT_EQ(h.etag, "\"file\"");
  EXPECT_FALSE(h.content_length);
}

TEST(HttpHeaders, ContentRanges) {
  EXPECT_EQ(ParseContentRange("bytes 5-5/6"), (ContentRange{5, 6, 6}));
  EXPECT_EQ(ParseContentRange("Bytes  0-9/*"), (ContentRange{0, 10, {}}));
  EXPECT_EQ(ParseContentRange("bytes */0"), (ContentRange{{}, {}, 0}));
  EXPECT_EQ(ParseContentRange("bytes 0-18446744073709551614/18446744073709551615"),
            (ContentRange{0, UINT64_MAX, UINT64_MAX}));
  for (const char* bad :
       {"", "bytes", "bytes ", "bytes */*", "bytes 0-9", "bytes 9-0/10", "bytes 0-10/10",
        "bytes -5/10", "bytes 0-/10", "bytes 0-9/", "bytes 0-9/x", "bytes 0-9/10x", "items 0-9/10",
        "bytes=0-9/10", "bytes 0-18446744073709551615/*", "bytes 0-9/18446744073709551616",
        "bytes 0x0-9/10", "bytes +0-9/10", "bytes0-9/10"}) {
    EXPECT_FALSE(ParseContentRange(bad)) << bad;
  }
}

TEST(HttpHeaders, WhatIsMalformedIsKept) {
  EXPECT_EQ(Parse({"Content-Range: bytes 3-2/9"}).malformed, "Content-Range: bytes 3-2/9");
  EXPECT_EQ(Parse({"Content-Length: -1"}).malformed, "Content-Length: -1");
  EXPECT_EQ(Parse({"ETag: a\x01"}).malformed.substr(0, 5), "ETag:");
  EXPECT_LE(Parse({("ETag: \x7F" + std::string(5000, 'a')).c_str()}).malformed.size(), 80u);
  EXPECT_EQ(Parse({"no colon", "X: y", ": z", ""}).malformed, "");
}

TEST(HttpHeaders, ContradictionsAreMalformed) {
  EXPECT_EQ(Parse({"Content-Length: 1", "Content-Length: 1"}).malformed, "");
  EXPECT_NE(Parse({"Content-Length: 1", "Content-Length: 2"}).malformed, "");
  EXPECT_NE(Parse({"ETag: \"a\"", "ETag: \"b\""}).malformed, "");
  EXPECT_NE(Parse({"Content-Range: bytes 0-1/2", "Content-Range: bytes 0-1/3"}).malformed, "");
}

TEST(HttpHeaders, RetryAfterInSecondsAlone) {
  EXPECT_EQ(Parse({"Retry-After: 7"}).retry_after_seconds, 7u);
  const HttpHeaders date = Parse({"Retry-After: Sun, 06 Nov 1994 08:49:37 GMT"});
  EXPECT_FALSE(date.retry_after_seconds);
  EXPECT_EQ(date.malformed, "");
}

TEST(HttpHeaders, StrongTags) {
  EXPECT_TRUE(IsStrongTag("\"x\""));
  EXPECT_TRUE(IsStrongTag("\"\""));
  for (const char* weak : {"", "\"", "W/\"x\"", "x", "\"x", "\"x\"y\""}) {
    EXPECT_FALSE(IsStrongTag(weak)) << weak;
  }
}

TEST(HttpUrl, WhatIsOne) {
  EXPECT_TRUE(IsHttpUrl("http://a/b"));
  EXPECT_TRUE(IsHttpUrl("HTTPS://a"));
  for (const char* other : {"", "http:/a", "http", "ftp://a", "model.nwc", "./http://a"}) {
    EXPECT_FALSE(IsHttpUrl(other)) << other;
  }
}

TEST(HttpUrl, MessagesHoldNoSecrets) {
  EXPECT_EQ(PathForMessages("https://u:p@h.org:81/a/m.nwc?X-Amz-Signature=s#f"),
            "https://h.org:81/a/m.nwc");
  EXPECT_EQ(PathForMessages("http://u:p@ss@h/a@b"), "http://h/a@b");
  EXPECT_EQ(PathForMessages("http://h?token=s"), "http://h");
  EXPECT_EQ(PathForMessages("http://h#x/@y"), "http://h");
  EXPECT_EQ(PathForMessages("a?b@c#d"), "a?b@c#d");
}

}  // namespace
}  // namespace nwc
