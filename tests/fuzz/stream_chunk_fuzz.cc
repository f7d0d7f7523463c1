// A `stream` chunk: scalar and vector decoders must agree on every input, in verdict and bits.
#include <cstdlib>

#include "tests/fuzz/chunk_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  if (size < kChunkInputPrefix) return 0;
  const StreamCase c = MakeStreamCase(data[0], data[1]);
  const StreamDecoder decoder(c.tensor, c.side, DefaultStreamTables());
  const ByteSpan chunk(data + kChunkInputPrefix, size - kChunkInputPrefix);
  const TileRange tile{0, c.tensor.rows, 0, c.tensor.columns};
  const size_t stride = c.tensor.columns * DTypeSize(c.tensor.dtype);
  std::vector<uint8_t> scalar(c.tensor.decoded_bytes()), vectors(scalar.size());
  const Status a = decoder.Decode(chunk, tile, scalar.data(), stride, Simd::kScalar);
  for (const Simd simd : UsableSimds()) {
    const Status b = decoder.Decode(chunk, tile, vectors.data(), stride, simd);
    if (a.rule() != b.rule() || (a.ok() && scalar != vectors)) std::abort();
  }
  return 0;
}
