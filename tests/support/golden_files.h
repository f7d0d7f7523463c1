// The golden containers, in the order of their names.
#pragma once

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <vector>

namespace nwc {

// GOLDEN_FOLDER is tests/golden; `folder` is valid or invalid.
inline std::vector<std::filesystem::path> GoldenContainers(const char* folder) {
  std::vector<std::filesystem::path> paths;
  const auto all = std::filesystem::path(GOLDEN_FOLDER) / folder;
  for (const auto& entry : std::filesystem::directory_iterator(all)) {
    if (entry.path().extension() == ".nwc") paths.push_back(entry.path());
  }
  if (paths.empty()) throw std::runtime_error("no containers in " + all.string());
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace nwc
