// Writes the page of tools/report_page.h about a model that is open.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "loader/model_loader.h"
#include "tools/report_page.h"

namespace nwc {

// For before long work. kUsage for a path that cannot be written, that is there already (unless
// `overwrite`), that is one of `taken`: inputs and other outputs, or that has a container's name.
Status CheckPagePath(const std::string& path, bool overwrite,
                     const std::vector<std::string>& taken);

struct PageTarget {
  std::string path;
  bool overwrite = false;
};

// The file appears whole or not at all. kUsage if it is there already, or is a file of the model.
Status WriteReportPage(const ModelLoader& model, std::optional<PackFacts> pack,
                       const PageTarget& target);

}  // namespace nwc
