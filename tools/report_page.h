// A page about one packed model: HTML that needs nothing else, neither network nor scripts. Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tools/model_totals.h"
#include "tools/stage_times.h"

namespace nwc {

// What only the program that packed a model knows.
struct PackFacts {
  struct Error {
    double relative_mse = 0;  // squared error over squared norm; 0: lossless
    double kl = 0;            // estimated, nats a token; 0: unknown
  };
  std::map<std::string, Error> errors;  // by tensor
  std::vector<StageSeconds> stages;
  std::vector<std::string> remarks;  // sentences: what was measured, notes about tensors
};

struct PageContent {
  std::string name;       // of the file, without its folder
  std::string root_hash;  // empty: a set of containers
  Index index;            // of all containers
  ModelTotals totals;
  std::optional<PackFacts> pack;
};

// The same content gives the same bytes. Names and texts may be hostile.
std::string FormatReportPage(const PageContent& content);

}  // namespace nwc
