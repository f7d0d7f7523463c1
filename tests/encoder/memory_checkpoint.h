// A checkpoint made in memory, and a sink that keeps what is written: for tests.
#pragma once

#include <algorithm>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "encoder/encoder.h"
#include "tests/support/keeping_sink.h"

namespace nwc {

class MemoryCheckpoint : public TensorSource {
 public:
  [[nodiscard]] const std::vector<SourceTensor>& tensors() const override { return tensors_; }
  [[nodiscard]] const std::vector<ShardInfo>& shards() const override { return shards_; }
  Status Read(size_t tensor, MutableByteSpan destination) const override {
    if (!data_[tensor].empty()) {
      std::memcpy(destination.data(), data_[tensor].data(), destination.size());
    }
    return {};
  }

  void Add(const std::string& name, DType dtype, std::vector<uint64_t> shape,
           std::vector<uint8_t> bytes) {
    tensors_.push_back({name, dtype, std::move(shape), 0});
    data_.push_back(std::move(bytes));
  }

  // Gaussian weights whose rows and columns differ in scale; a few heavy outliers.
  void AddGaussian(const std::string& name, DType dtype, std::vector<uint64_t> shape, uint32_t seed,
                   float outlier = 0) {
    std::mt19937 rng(seed);
    std::normal_distribution<float> normal(0, 1);
    uint64_t n = 1;
    for (const uint64_t d : shape) n *= d;
    const uint64_t columns = shape.empty() ? 1 : n / std::max<uint64_t>(1, shape[0]);
    std::vector<float> values(n);
    for (uint64_t i = 0; i < n; ++i) {
      const float row_scale = 0.02f * (1 + static_cast<float>(i / columns % 5));
      values[i] = row_scale * (1 + static_cast<float>(i % columns % 3) * 0.3f) * normal(rng);
      if (outlier != 0 && rng() % 4096 == 0) values[i] *= outlier;
    }
    std::vector<uint8_t> bytes(n * DTypeSize(dtype));
    FromFloat(dtype, values.data(), n, bytes.data());
    Add(name, dtype, std::move(shape), std::move(bytes));
  }

  [[nodiscard]] const std::vector<uint8_t>& bytes(size_t tensor) const { return data_[tensor]; }

 private:
  std::vector<SourceTensor> tensors_;
  std::vector<std::vector<uint8_t>> data_;
  std::vector<ShardInfo> shards_ = {{"model.safetensors", "{\"format\":\"pt\"}"}};
};

}  // namespace nwc
