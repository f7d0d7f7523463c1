#include "tools/container_bits.h"

namespace nwc {
namespace {

constexpr uint64_t kChunkEntryBytes = 24;  // in the index

std::optional<double> Bits(uint64_t bytes, uint64_t weights) {
  if (weights == 0) return std::nullopt;
  return 8 * static_cast<double>(bytes) / static_cast<double>(weights);
}

// Entropy tables of the index: of each its alphabet and its frequencies.
uint64_t TableBytes(const Index& index) {
  uint64_t bytes = 0;
  for (const CodecInfo& codec : index.codecs) {
    for (const auto& table : codec.tables.frequencies) bytes += 1 + table.size() * sizeof(uint16_t);
  }
  return bytes;
}

}  // namespace

std::optional<double> ContainerBits::BitsPerWeight() const { return Bits(file_bytes, weights); }

std::optional<double> ContainerBits::LinearBitsPerWeight() const {
  return Bits(linear_bytes, linear_weights);
}

ContainerBits& operator+=(ContainerBits& sum, const ContainerBits& shard) {
  sum.weights += shard.weights;
  sum.file_bytes += shard.file_bytes;
  sum.linear_weights += shard.linear_weights;
  sum.linear_bytes += shard.linear_bytes;
  return sum;
}

ContainerBits CountBits(const Index& index, uint64_t file_bytes) {
  ContainerBits bits;
  bits.file_bytes = file_bytes;
  bool any_stream = false, any_neural = false;
  for (const TensorInfo& t : index.tensors) {
    bits.weights += t.weights();
    any_stream = any_stream || t.stream.has_value();
    any_neural = any_neural || t.neural.has_value();
    if (!t.linear) continue;
    bits.linear_weights += t.weights();
    bits.linear_bytes += t.payload_bytes() + kChunkEntryBytes * t.chunks.size();
  }
  if (bits.linear_weights == 0) return bits;
  if (any_stream) bits.linear_bytes += TableBytes(index);
  if (any_neural) {
    for (const NeuralCodecInfo& codec : index.neural_codecs) bits.linear_bytes += codec.extent.size;
  }
  return bits;
}

}  // namespace nwc
