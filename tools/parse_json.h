// JSON from a file that may be hostile.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace nwc {

inline constexpr int kMaxJsonDepth = 64;

// Json: nlohmann's json or ordered_json. The value, or a discarded one for what is no JSON or is
// nested deeper than kMaxJsonDepth: copying (which ordered_json's objects do as they grow) and
// dumping recurse.
template <typename Json>
Json ParseJson(std::string_view text) {
  bool too_deep = false;
  const auto keep = [&](int depth, typename Json::parse_event_t, const Json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return !too_deep;
  };
  Json parsed = Json::parse(text.begin(), text.end(), keep, /*allow_exceptions=*/false);
  return too_deep ? Json(Json::value_t::discarded) : parsed;
}

}  // namespace nwc
