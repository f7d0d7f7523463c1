#include "format/neural_tables.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace nwc {
namespace {

constexpr double kEscapeBits = 16;

}  // namespace

int NeuralBucketBits(size_t symbols) {
  return std::max(kMinNeuralBucketBits, static_cast<int>(std::bit_width(symbols - 1)));
}

NeuralTables::NeuralTables(const NeuralCodec& codec) : latents_(codec.latents) {
  for (const NeuralTable& t : codec.tables) {
    const int bits = NeuralBucketBits(t.frequencies.size());
    tables_.push_back({static_cast<uint32_t>(buckets_.size()), static_cast<uint8_t>(bits), t.lowest,
                       static_cast<uint16_t>(t.frequencies.size() - 1)});
    const size_t count = size_t{1} << bits;
    buckets_.resize(buckets_.size() + count);
    BuildWideAliasTable(t.frequencies, bits, {buckets_.data() + buckets_.size() - count, count});
    frequencies_.push_back(t.frequencies);
  }
}

double NeuralTables::Cost(size_t quality, size_t latent, int value) const {
  const Table& t = table(quality, latent);
  const auto& f = frequencies_[quality * latents_ + latent];
  const int symbol = value - t.lowest;
  const bool escapes = symbol < 0 || symbol >= t.escape;
  const double frequency = f[escapes ? t.escape : static_cast<size_t>(symbol)];
  return kProbabilityBits - std::log2(frequency) + (escapes ? kEscapeBits : 0);
}

NeuralEncodeTables::NeuralEncodeTables(const NeuralCodec& codec) : settings_(codec) {
  tables_.reserve(codec.tables.size());
  for (const NeuralTable& t : codec.tables) {
    tables_.push_back({BuildEncodeTable(t.frequencies, NeuralBucketBits(t.frequencies.size())),
                       t.lowest, static_cast<int>(t.frequencies.size()) - 1});
  }
}

}  // namespace nwc
