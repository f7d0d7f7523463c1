// Calibration statistics made in memory: for tests.
#pragma once

#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "encoder/statistics.h"

namespace nwc {

class MemoryStatistics : public StatisticsSource {
 public:
  [[nodiscard]] bool Has(const std::string& weight) const override {
    return layers.contains(weight);
  }
  [[nodiscard]] Result<LayerStatistics> Read(const std::string& weight, uint64_t, uint64_t,
                                             InputMoment) const override {
    return layers.at(weight);
  }
  std::map<std::string, LayerStatistics> layers;
};

// Second moment of 8·size vectors whose entries are correlated and differ in scale.
inline std::vector<float> CorrelatedMoment(size_t size, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> moment(size * size, 0), x(size);
  const size_t count = 8 * size;
  for (size_t n = 0; n < count; ++n) {
    float common = normal(rng);
    for (size_t i = 0; i < size; ++i) {
      common = 0.9f * common + 0.4f * normal(rng);
      x[i] = common * (1 + static_cast<float>(i % 7));
    }
    for (size_t i = 0; i < size; ++i) {
      for (size_t j = 0; j < size; ++j)
        moment[i * size + j] += x[i] * x[j] / static_cast<float>(count);
    }
  }
  return moment;
}

// Gradient moments of outputs whose importance spans two orders of magnitude.
inline std::vector<float> SpreadMoments(size_t size) {
  std::vector<float> o(size);
  for (size_t j = 0; j < size; ++j) o[j] = 1e-4f * static_cast<float>(1 + (j * 37) % 101);
  return o;
}

}  // namespace nwc
