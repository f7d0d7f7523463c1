// An `exact` chunk: scalar and vector decoders must agree on every input, in verdict and bits.
#include <cstdlib>

#include "format/exact_codec.h"
#include "tests/fuzz/chunk_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  if (size < kChunkInputPrefix) return 0;
  const DType dtype = (data[0] & 0x80) != 0 ? DType::kF32 : DType::kBF16;
  const size_t elements = 1 + (static_cast<size_t>(data[0] & 0x7F) << 2 | (data[1] & 3));
  const ByteSpan chunk(data + kChunkInputPrefix, size - kChunkInputPrefix);
  std::vector<uint8_t> scalar(elements * DTypeSize(dtype)), vectors(scalar.size());
  const Status a = DecodeExactChunk(chunk, dtype, scalar, Simd::kScalar);
  for (const Simd simd : UsableSimds()) {
    const Status b = DecodeExactChunk(chunk, dtype, vectors, simd);
    if (a.rule() != b.rule() || (a.ok() && scalar != vectors)) std::abort();
  }
  return 0;
}
