// From a tile's facts, known at run time, to the constants that its vector decoder is compiled for.
// Only for files that are compiled for one instruction set: `run` is a lambda of theirs, so that
// what is made of this template is theirs too.
#pragma once

#include "format/stream_chunk.h"

namespace nwc {

template <int kBits, typename Run>
Status RunForStageAndDType(const StreamTileJob& job, const Run& run) {
  switch (job.last_stage) {
    case StreamStage::kEntropy:
      return run.template operator()<kBits, DType::kBF16, StreamStage::kEntropy>();
    case StreamStage::kTrellis:
      return run.template operator()<kBits, DType::kBF16, StreamStage::kTrellis>();
    case StreamStage::kScale:
      return run.template operator()<kBits, DType::kBF16, StreamStage::kScale>();
    case StreamStage::kStore:
      break;
  }
  switch (job.dtype) {
    case DType::kF16:
      return run.template operator()<kBits, DType::kF16, StreamStage::kStore>();
    case DType::kBF16:
      return run.template operator()<kBits, DType::kBF16, StreamStage::kStore>();
    default:
      return run.template operator()<kBits, DType::kF32, StreamStage::kStore>();
  }
}

// Calls run.operator()<bucket bits, dtype, last stage>().
template <typename Run>
Status RunForJob(const StreamTileJob& job, const Run& run) {
  switch (job.bucket_bits) {
    case 6:
      return RunForStageAndDType<6>(job, run);
    case 7:
      return RunForStageAndDType<7>(job, run);
    default:
      return RunForStageAndDType<8>(job, run);
  }
}

}  // namespace nwc
