// A file of calibration statistics: safetensors, as docs/statistics.md describes it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "encoder/statistics.h"
#include "tools/checkpoint.h"

namespace nwc {

// Immutable; Read may be called from many threads at once. The file must stay as it is.
class StatisticsFile : public StatisticsSource {
 public:
  // Checks the metadata and that every tensor has a partner; kUsage says what is wrong.
  static Result<std::unique_ptr<StatisticsFile>> Open(const std::string& path);

  [[nodiscard]] bool Has(const std::string& weight) const override;
  [[nodiscard]] Result<LayerStatistics> Read(const std::string& weight, uint64_t rows,
                                             uint64_t columns, InputMoment moment) const override;

  // kUsage when the statistics are of another model: their fingerprint differs, or they name none
  // of its tensors.
  [[nodiscard]] Status CheckModel(const TensorSource& model) const;

 private:
  struct Moments {
    // Positions in the file.
    std::optional<size_t> input, weighted, output;
  };
  StatisticsFile() = default;
  Result<std::vector<float>> ReadTensor(size_t tensor, const std::vector<uint64_t>& shape,
                                        const char* what) const;

  std::unique_ptr<Checkpoint> file_;
  std::map<std::string, Moments> moments_;
  std::string fingerprint_;  // empty: not given
};

// What tells a model from another of the same shapes: names and shapes of all its tensors, and the
// values of those with one dimension (norms, biases). 32 hexadecimal digits.
Result<std::string> ModelFingerprint(const TensorSource& model);

}  // namespace nwc
