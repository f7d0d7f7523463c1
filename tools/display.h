// How names, sizes and times look in messages to people.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nwc {

// 'name', with control bytes as '?' and the middle of a very long name left out: names come from
// files and must not steer a terminal.
std::string Quote(std::string_view name);

std::string FormatBytes(uint64_t bytes);                      // "532 B", "14.2 MB": powers of ten
std::string FormatSeconds(double seconds);                    // "0.42 s", "3:07", "1:02:45"
std::string FormatShape(const std::vector<uint64_t>& shape);  // "[4096, 1024]"

}  // namespace nwc
