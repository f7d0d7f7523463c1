// The headers of an HTTP answer, as far as range requests need them (RFC 9110, 9112). Pure: lines
// come from a server and may be anything.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace nwc {

// "bytes 0-99/1234", "bytes 0-99/*" or, with status 416, "bytes */1234".
struct ContentRange {
  std::optional<uint64_t> begin, end;  // half-open; both or neither
  std::optional<uint64_t> total;       // size of the whole file
  bool operator==(const ContentRange&) const = default;
};

// Nothing where it is malformed, does not fit in 64 bits, or does not lie inside its total.
std::optional<ContentRange> ParseContentRange(std::string_view value);

struct HttpHeaders {
  int status = 0;  // 100 to 599; 0 before a status line
  std::optional<ContentRange> content_range;
  std::optional<uint64_t> content_length;
  std::string etag;                             // as sent, with quotes and W/; empty: none
  std::string last_modified;                    // as sent; empty: none
  std::optional<uint64_t> retry_after_seconds;  // a date in its place counts as none
  std::string malformed;                        // the first line that is, shortened; empty: none
};

// Adds one line, with or without its line end. A status line forgets everything before it: a
// redirect or an interim answer came first. Unknown headers are ignored; one of the above that is
// malformed or contradicts an earlier one is noted in `malformed`.
void AddHeaderLine(std::string_view line, HttpHeaders* headers);

// Whether equal tags promise equal bytes: "x" is strong; W/"x", x without quotes and no tag are
// not.
bool IsStrongTag(std::string_view etag);

}  // namespace nwc
