// Codes whole tensors as `nwc` with one trained codec.
#pragma once

#include <memory>

#include "encoder/coded_tensor.h"
#include "encoder/importance_options.h"
#include "encoder/neural_model.h"
#include "encoder/statistics.h"

namespace nwc {

class NeuralCoder {
 public:
  // `model` passes CheckNeuralModel; it and `statistics` (may be null) must outlive the coder.
  NeuralCoder(const NeuralModel& model, const ImportanceOptions& importance,
              const StatisticsSource* statistics, bool roundtrip);

  // `info` has tiles of whole chunks. `codec` is the codec's position in the container.
  Result<CodedTensor> Code(TensorInfo info, ByteSpan elements, uint16_t codec,
                           WorkerPool* pool) const;

 private:
  Status CodeChunks(const struct NeuralEncoding& encoding, WorkerPool* pool,
                    CodedTensor* coded) const;

  const NeuralModel& model_;
  const ImportanceOptions importance_;
  const StatisticsSource* statistics_;
  const bool roundtrip_;
  const NeuralEncodeTables encode_tables_;
  const std::shared_ptr<const NeuralDecodeCodec> decode_codec_;
};

}  // namespace nwc
