#include "loader/http_url.h"

#include <algorithm>

namespace nwc {
namespace {

// Length of "http://" or "https://" at the start, or 0.
size_t SchemeLength(std::string_view path) {
  for (const std::string_view scheme : {"http://", "https://"}) {
    const bool equal = path.size() >= scheme.size() &&
                       std::equal(scheme.begin(), scheme.end(), path.begin(), [](char s, char c) {
                         return s == (c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
                       });
    if (equal) return scheme.size();
  }
  return 0;
}

}  // namespace

bool IsHttpUrl(std::string_view path) { return SchemeLength(path) != 0; }

std::string PathForMessages(std::string_view path) {
  const size_t scheme = SchemeLength(path);
  if (scheme == 0) return std::string(path);
  std::string_view rest = path.substr(scheme);
  rest = rest.substr(0, rest.find_first_of("?#"));
  // The last one: a password may hold an @ that ought to have been escaped.
  const size_t at = rest.substr(0, rest.find('/')).rfind('@');
  if (at != std::string_view::npos) rest.remove_prefix(at + 1);
  return std::string(path.substr(0, scheme)) + std::string(rest);
}

}  // namespace nwc
