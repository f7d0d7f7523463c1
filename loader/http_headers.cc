#include "loader/http_headers.h"

#include <algorithm>
#include <charconv>

namespace nwc {
namespace {

constexpr size_t kMaxLineInMessage = 80;

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Lower(x) == Lower(y); });
}

// Digits alone.
std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t value = 0;
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) return std::nullopt;
  return value;
}

// "HTTP/1.1 206 Partial Content", "HTTP/2 206"; 0 where it is malformed.
int ParseStatus(std::string_view line) {
  const size_t space = line.find(' ');
  if (space == std::string_view::npos) return 0;
  const std::string_view rest = Trim(line.substr(space));
  const auto status = ParseNumber(rest.substr(0, rest.find(' ')));
  return status && *status >= 100 && *status <= 599 ? static_cast<int>(*status) : 0;
}

bool IsPrintable(std::string_view value) {
  return std::all_of(value.begin(), value.end(),
                     [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; });
}

// False where there is another value already, or none to set.
template <typename T>
bool SetOnce(std::optional<T>* field, const std::optional<T>& value) {
  if (!value || (*field && **field != *value)) return false;
  *field = value;
  return true;
}

bool SetOnce(std::string* field, std::string_view value) {
  if (!field->empty() && *field != value) return false;
  *field = value;
  return true;
}

bool AddField(std::string_view name, std::string_view value, HttpHeaders* headers) {
  if (EqualIgnoringCase(name, "content-range")) {
    return SetOnce(&headers->content_range, ParseContentRange(value));
  }
  if (EqualIgnoringCase(name, "content-length")) {
    return SetOnce(&headers->content_length, ParseNumber(value));
  }
  if (EqualIgnoringCase(name, "etag")) return IsPrintable(value) && SetOnce(&headers->etag, value);
  if (EqualIgnoringCase(name, "last-modified")) return SetOnce(&headers->last_modified, value);
  if (EqualIgnoringCase(name, "retry-after")) {
    headers->retry_after_seconds = ParseNumber(value);
  }
  return true;
}

}  // namespace

std::optional<ContentRange> ParseContentRange(std::string_view value) {
  constexpr std::string_view kUnit = "bytes";
  if (!EqualIgnoringCase(value.substr(0, kUnit.size()), kUnit)) return std::nullopt;
  value.remove_prefix(kUnit.size());
  if (value.empty() || (value.front() != ' ' && value.front() != '\t')) return std::nullopt;
  const size_t slash = value.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const std::string_view range = Trim(value.substr(0, slash));
  const std::string_view total = Trim(value.substr(slash + 1));
  ContentRange parsed;
  if (total != "*") {
    parsed.total = ParseNumber(total);
    if (!parsed.total) return std::nullopt;
  }
  if (range == "*") return parsed.total ? std::optional(parsed) : std::nullopt;
  const size_t dash = range.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = ParseNumber(range.substr(0, dash));
  const auto last = ParseNumber(range.substr(dash + 1));
  if (!first || !last || *last < *first || *last == UINT64_MAX) return std::nullopt;
  if (parsed.total && *last >= *parsed.total) return std::nullopt;
  parsed.begin = *first;
  parsed.end = *last + 1;
  return parsed;
}

void AddHeaderLine(std::string_view line, HttpHeaders* headers) {
  line = Trim(line);
  if (line.empty()) return;
  bool good = false;
  const size_t colon = line.find(':');
  if (line.starts_with("HTTP/")) {
    *headers = {};
    headers->status = ParseStatus(line);
    good = headers->status != 0;
  } else if (colon != std::string_view::npos) {
    good = AddField(line.substr(0, colon), Trim(line.substr(colon + 1)), headers);
  } else {
    good = true;  // a folded line; the headers that count have none
  }
  if (!good && headers->malformed.empty()) {
    headers->malformed = line.substr(0, kMaxLineInMessage);
  }
}

bool IsStrongTag(std::string_view etag) {
  return etag.size() >= 2 && etag.front() == '"' && etag.find('"', 1) == etag.size() - 1;
}

}  // namespace nwc
