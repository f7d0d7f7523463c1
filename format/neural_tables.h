// The entropy tables of a codec of profile `nwc`, ready for rANS (spec/codec.md sections 3 and 12).
// Immutable once built; safe to share between threads.
#pragma once

#include <cstdint>
#include <vector>

#include "format/freq_table.h"
#include "format/neural_codec.h"

namespace nwc {

inline constexpr int kMinNeuralBucketBits = 6;

// max(6, ceil(log2(symbols))), for 2 … 1024 symbols.
int NeuralBucketBits(size_t symbols);

// For decoding.
class NeuralTables {
 public:
  struct Table {
    uint32_t first_bucket = 0;  // from buckets()
    uint8_t bucket_bits = 0;
    int16_t lowest = 0;
    uint16_t escape = 0;  // its symbol number: the last
  };

  // `codec` is well-formed as SerializeNeuralCodec and ParseNeuralCodec demand.
  explicit NeuralTables(const NeuralCodec& codec);

  [[nodiscard]] const Table& table(size_t quality, size_t latent) const {
    return tables_[quality * latents_ + latent];
  }
  // Entries of all tables, as BuildWideAliasTable makes them.
  [[nodiscard]] const AliasBucket* buckets() const { return buckets_.data(); }

  // Bits that `value` takes as latent number `latent` of a column of `quality`: the ideal length of
  // its symbol, and 16 more for an escape.
  [[nodiscard]] double Cost(size_t quality, size_t latent, int value) const;

 private:
  size_t latents_;
  std::vector<Table> tables_;
  std::vector<AliasBucket> buckets_;
  std::vector<std::vector<uint16_t>> frequencies_;
};

// For encoding: the tables and the shape of a chunk.
class NeuralEncodeTables {
 public:
  struct Table {
    EncodeTable symbols;
    int lowest = 0;
    int escape = 0;
  };

  explicit NeuralEncodeTables(const NeuralCodec& codec);

  [[nodiscard]] const Table& table(size_t quality, size_t latent) const {
    return tables_[quality * settings_.latents + latent];
  }
  [[nodiscard]] const NeuralSettings& settings() const { return settings_; }

 private:
  NeuralSettings settings_;
  std::vector<Table> tables_;
};

}  // namespace nwc
