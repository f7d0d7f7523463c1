// What a path that is a URL is, and how it is printed. Pure.
#pragma once

#include <string>
#include <string_view>

namespace nwc {

bool IsHttpUrl(std::string_view path);  // begins with http:// or https://, in any case

// A URL without what may be secret (user, password, query, fragment); other paths as they are.
std::string PathForMessages(std::string_view path);

}  // namespace nwc
