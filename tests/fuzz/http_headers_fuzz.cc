// The lines of an HTTP answer's header: what is parsed must be in range and printable ranges must
// parse to themselves.
#include <algorithm>
#include <cstdlib>
#include <string_view>

#include "format/bytes.h"
#include "loader/http_headers.h"
#include "loader/http_url.h"

namespace nwc {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

void CheckRange(const ContentRange& range) {
  Check(range.begin.has_value() == range.end.has_value());
  Check(range.begin || range.total);
  if (range.begin) Check(*range.begin < *range.end);
  if (range.begin && range.total) Check(*range.end <= *range.total);
  const std::string total = range.total ? std::to_string(*range.total) : "*";
  const std::string text = range.begin ? std::to_string(*range.begin) + "-" +
                                             std::to_string(*range.end - 1) + "/" + total
                                       : "*/" + total;
  Check(ParseContentRange("bytes " + text) == range);
}

}  // namespace
}  // namespace nwc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  HttpHeaders headers;
  for (size_t begin = 0; begin < size;) {
    const size_t end = std::min(text.find('\n', begin), size - 1) + 1;
    AddHeaderLine(text.substr(begin, end - begin), &headers);
    begin = end;
  }
  Check(headers.status == 0 || (headers.status >= 100 && headers.status <= 599));
  if (headers.content_range) CheckRange(*headers.content_range);
  if (IsStrongTag(headers.etag)) Check(headers.etag.size() >= 2);
  // A name for messages has nothing more to hide.
  const std::string name = PathForMessages(text);
  Check(PathForMessages(name) == name);
  Check(IsHttpUrl(name) == IsHttpUrl(text));
  return 0;
}
