// Names like one that was not found. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace nwc {

// At most three of `names`, best first: those that contain `wanted` or are contained in it, then
// those a few typing errors away.
std::vector<std::string_view> SimilarNames(std::string_view wanted,
                                           const std::vector<std::string_view>& names);

// "; did you mean 'a', 'b' or 'c'?", or nothing without names.
std::string NameHint(const std::vector<std::string_view>& similar);

}  // namespace nwc
