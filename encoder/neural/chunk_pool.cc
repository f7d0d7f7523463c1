#include "encoder/neural/chunk_pool.h"

#include <algorithm>
#include <cmath>

#include "encoder/encoder.h"
#include "encoder/neural_scales.h"
#include "format/checksum.h"
#include "format/neural_chunk.h"

namespace nwc {
namespace {

// Beyond this a few weights would rule the loss; they are stored exactly anyway.
constexpr float kMaxNormalised = 4 * static_cast<float>(kOutlierDeviations);

uint64_t Weights(const SourceTensor& tensor) {
  uint64_t n = 1;
  for (const uint64_t d : tensor.shape) n *= d;
  return n;
}

ByteSpan AsBytes(const std::vector<float>& values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
}

class Collector {
 public:
  Collector(size_t chunk, double share) : one_(chunk), accept_below_(share >= 1 ? 1.0 : share) {}

  Status AddTensor(const TensorSource& source, size_t index) {
    const SourceTensor& tensor = source.tensors()[index];
    const uint64_t rows = tensor.shape[0], weights = Weights(tensor);
    std::vector<uint8_t> bytes(weights * DTypeSize(tensor.dtype));
    NWC_RETURN_IF_ERROR(source.Read(index, bytes).WithContext(tensor.name));
    std::vector<float> values(weights);
    ToFloat(tensor.dtype, bytes.data(), weights, values.data());
    AddMatrix(values, rows, weights / rows);
    return {};
  }

  ChunkPool Finish() {
    pool_.fingerprint = Hash64(AsBytes(pool_.training)) ^ (Hash64(AsBytes(pool_.validation)) << 1);
    return std::move(pool_);
  }

 private:
  void AddMatrix(const std::vector<float>& values, uint64_t rows, uint64_t columns) {
    const NeuralScales scales = ChooseNeuralScales(values, rows, columns);
    std::vector<float> inverse(columns);
    for (uint64_t i = 0; i < columns; ++i) {
      inverse[i] = 1 / NeuralColumnFactor(scales.scale, scales.column_code[i]);
    }
    for (uint64_t top = 0; top + one_.size() <= rows; top += one_.size()) {
      for (uint64_t i = 0; i < columns; ++i) {
        for (size_t k = 0; k < one_.size(); ++k) {
          one_[k] = values[(top + k) * columns + i] * inverse[i];
        }
        AddChunk();
      }
    }
  }

  void AddChunk() {
    const bool usable = std::all_of(one_.begin(), one_.end(),
                                    [](float v) { return std::fabs(v) <= kMaxNormalised; });
    const bool dead = std::all_of(one_.begin(), one_.end(), [](float v) { return v == 0; });
    if (!usable || dead) return;
    const uint64_t hash = Hash64(AsBytes(one_));
    // The low bits choose the side, the high ones the sample.
    const double position = std::ldexp(static_cast<double>(hash >> 16), -48);
    if (position >= accept_below_) return;
    auto& side = hash % kValidationShare == 0 ? pool_.validation : pool_.training;
    side.insert(side.end(), one_.begin(), one_.end());
  }

  std::vector<float> one_;
  double accept_below_;
  ChunkPool pool_;
};

}  // namespace

Result<ChunkPool> CollectChunks(const std::vector<const TensorSource*>& sources, size_t chunk,
                                uint64_t weights) {
  uint64_t total = 0;
  for (const TensorSource* source : sources) {
    for (const SourceTensor& t : source->tensors()) total += IsLinearWeight(t) ? Weights(t) : 0;
  }
  if (total == 0) {
    return Status(ErrorCode::kUsage,
                  "no weight matrix of a linear layer to train on (2-D, both sides at least 64)");
  }
  Collector collector(chunk, static_cast<double>(weights) / static_cast<double>(total));
  for (const TensorSource* source : sources) {
    for (size_t i = 0; i < source->tensors().size(); ++i) {
      if (!IsLinearWeight(source->tensors()[i])) continue;
      NWC_RETURN_IF_ERROR(collector.AddTensor(*source, i));
    }
  }
  ChunkPool pool = collector.Finish();
  if (pool.training.empty() || pool.validation.empty()) {
    return Status(ErrorCode::kUsage, "too few weights to train on and to validate with");
  }
  return pool;
}

}  // namespace nwc
