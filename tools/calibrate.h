// Calibration of a checkpoint on a text, into a file of statistics.
#pragma once

#include <string>

#include "encoder/calibration.h"
#include "tools/checkpoint.h"
#include "tools/progress.h"

namespace nwc {

struct CalibrationRequest {
  std::string model;   // folder
  std::string text;    // text or tokens, as tools/tokens.h reads them
  size_t windows = 0;  // 0: 32, or 512 sentences
  size_t length = 0;   // 0: 1024 tokens or what the model takes
  CalibrationOptions options;
  std::string output;  // file of statistics
  bool overwrite = false;
};

// The text of a request as windows of tokens, for a model with these facts.
Result<TokenWindows> ReadCalibrationTokens(const CalibrationRequest& request,
                                           const ModelFacts& facts);

Status CalibrateToFile(const CalibrationRequest& request, const Checkpoint& checkpoint,
                       Progress* progress);

}  // namespace nwc
