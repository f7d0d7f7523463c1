#include "tools/display.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

namespace nwc {
namespace {

constexpr size_t kLongestName = 160;  // bytes

template <typename... Values>
std::string Print(const char* format, Values... values) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, values...);
  return text.data();
}

}  // namespace

std::string Quote(std::string_view name) {
  std::string text(name);
  if (name.size() > kLongestName) {
    constexpr size_t kHalf = kLongestName / 2;
    text =
        std::string(name.substr(0, kHalf)) + "..." + std::string(name.substr(name.size() - kHalf));
  }
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return "'" + text + "'";
}

std::string FormatBytes(uint64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return std::to_string(bytes) + " B";
  double value = static_cast<double>(bytes) / 1000;
  size_t unit = 0;
  while (value >= 999.95 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  return Print(value < 99.95 ? "%.2f %s" : "%.1f %s", value, kUnits[unit]);
}

std::string FormatSeconds(double seconds) {
  if (!(seconds >= 0)) return "-";
  if (seconds < 60) return Print(seconds < 10 ? "%.2f s" : "%.1f s", seconds);
  const auto whole = static_cast<int>(std::min(std::round(seconds), 1e9));
  if (whole < 3600) return Print("%d:%02lld", whole / 60, whole % 60);
  return Print("%d:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
}

std::string FormatShape(const std::vector<uint64_t>& shape) {
  std::string text = "[";
  for (const uint64_t d : shape) {
    if (text.size() > 1) text += ", ";
    text += std::to_string(d);
  }
  return text + "]";
}

}  // namespace nwc
