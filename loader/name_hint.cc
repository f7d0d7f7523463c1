#include "loader/name_hint.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace nwc {
namespace {

constexpr size_t kMaxHints = 3;
constexpr size_t kMaxErrors = 3;        // typing errors
constexpr size_t kMaxNameLength = 256;  // distances take the product of two lengths
constexpr size_t kNotSimilar = SIZE_MAX;

// Levenshtein distance.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 0; i < a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i + 1);
    for (size_t j = 0; j < b.size(); ++j) {
      const size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

// Smaller is more similar.
size_t Dissimilarity(std::string_view wanted, std::string_view name) {
  if (wanted.empty() || name.empty()) return kNotSimilar;
  if (name.find(wanted) != std::string_view::npos || wanted.find(name) != std::string_view::npos) {
    return 0;
  }
  const auto [shorter, longer] = std::minmax({wanted.size(), name.size()});
  if (longer > kMaxNameLength || longer - shorter > kMaxErrors) return kNotSimilar;
  const size_t distance = EditDistance(wanted, name);
  // Short names are within a few errors of everything.
  return distance <= std::min(kMaxErrors, shorter / 2) ? distance : kNotSimilar;
}

}  // namespace

std::vector<std::string_view> SimilarNames(std::string_view wanted,
                                           const std::vector<std::string_view>& names) {
  std::vector<std::pair<size_t, std::string_view>> found;
  for (const std::string_view name : names) {
    const size_t value = Dissimilarity(wanted, name);
    if (value != kNotSimilar) found.emplace_back(value, name);
  }
  std::stable_sort(found.begin(), found.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string_view> best;
  for (size_t i = 0; i < std::min(found.size(), kMaxHints); ++i) best.push_back(found[i].second);
  return best;
}

std::string NameHint(const std::vector<std::string_view>& similar) {
  if (similar.empty()) return {};
  std::string hint = "; did you mean ";
  for (size_t i = 0; i < similar.size(); ++i) {
    if (i != 0) hint += i + 1 == similar.size() ? " or " : ", ";
    hint += "'" + std::string(similar[i]) + "'";
  }
  return hint + "?";
}

}  // namespace nwc
