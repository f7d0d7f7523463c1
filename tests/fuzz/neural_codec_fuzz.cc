// A stored neural codec: what parses must serialise to the same bytes, and run.
#include <cstdlib>

#include "format/neural_chunk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  constexpr size_t kPrefix = 5;
  if (size < kPrefix) return 0;
  NeuralSettings settings;
  settings.chunk = static_cast<uint16_t>(1 + data[0] % 64);
  settings.latents = static_cast<uint16_t>(1 + data[1] % 8);
  settings.width = static_cast<uint16_t>(1 + data[2] % 40);
  settings.blocks = data[3] % 3;
  settings.qualities = static_cast<uint8_t>(1 + data[4] % 16);
  const ByteSpan bytes(data + kPrefix, size - kPrefix);
  const auto codec = ParseNeuralCodec(settings, bytes);
  if (!codec.ok()) return 0;
  const auto again = SerializeNeuralCodec(*codec);
  if (!again.ok() || !std::equal(again->begin(), again->end(), bytes.begin(), bytes.end())) {
    std::abort();
  }
  const NeuralDecodeCodec decoding(*codec);
  const std::vector<int16_t> latents(settings.latents * kNeuralColumns, 3);
  const std::vector<uint8_t> quality(kNeuralColumns, 0);
  std::vector<float> out(settings.chunk * kNeuralColumns);
  decoding.synthesis.Run(latents.data(), quality.data(), kNeuralColumns, out.data());
  return 0;
}
