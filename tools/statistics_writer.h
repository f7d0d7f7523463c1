// Writes a file of calibration statistics (docs/statistics.md) as they arrive.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "encoder/calibration.h"
#include "tools/atomic_file.h"
#include "tools/safetensors.h"

namespace nwc {

class StatisticsWriter {
 public:
  // `linears` bounds how many linear layers will come, `name_bytes` the length of their names
  // together: room for the header is left for so many.
  static Result<std::unique_ptr<StatisticsWriter>> Create(const std::string& path, bool overwrite,
                                                          size_t linears, size_t name_bytes);

  Status Add(const CalibratedLinear& linear);

  // Nothing is visible at `path` before. `metadata` goes into the header beside the format's own.
  Status Finish(std::map<std::string, std::string> metadata);

 private:
  StatisticsWriter() = default;
  Status AddTensor(const std::string& name, std::vector<uint64_t> shape,
                   std::span<const float> values);

  std::unique_ptr<AtomicFile> file_;
  uint64_t header_bytes_ = 0;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, std::string> shared_;  // metadata: input_of.X = Y
};

}  // namespace nwc
