// Codes whole tensors as `stream` with what a rate group shares.
#pragma once

#include <memory>

#include "encoder/coded_tensor.h"
#include "encoder/rate_control.h"
#include "encoder/trellis_search.h"

namespace nwc {

class StreamCoder {
 public:
  StreamCoder(const StreamOptions& options, StreamChoice choice, bool roundtrip);

  // `elements` must pass WhyNotStream. `codec` is the position of this coder's tables in the
  // container. Rows of the grid are coded in parallel.
  Result<CodedTensor> Code(TensorInfo info, ByteSpan elements, uint16_t codec, WorkerPool* pool);

  // Counts a tensor that an earlier run coded as if Code had.
  Status NoteUse(const CodedTensor& coded);

  [[nodiscard]] const std::shared_ptr<const StreamTables>& decode_tables() const {
    return decode_tables_;
  }

  // The tables that the tensors coded so far use, as the container will hold them.
  [[nodiscard]] CodecTables UsedTables() const { return PruneCodec(choice_.tables, used_); }

 private:
  void SetStream(const StepsAndTables& steps, uint16_t codec, TensorInfo* info) const;

  const StreamOptions options_;
  const StreamChoice choice_;
  const bool roundtrip_;
  const IndexCosts costs_;
  const StreamEncodeTables encode_tables_;
  const std::shared_ptr<const StreamTables> decode_tables_;
  TableUse used_{};
};

}  // namespace nwc
