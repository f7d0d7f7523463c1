// What a model costs in its containers: sums over the indexes, for nwc inspect and for report
// pages. Pure but for the loader's getters.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "loader/model_loader.h"

namespace nwc {

// "unknown" for a profile of a later version.
const char* ProfileOf(const TensorInfo& tensor);

// What a tensor costs: chunks, side information and the entries of its chunks in the index.
uint64_t TensorBytes(const TensorInfo& tensor);

// a / b; 0 where b is 0.
double Ratio(uint64_t a, uint64_t b);

struct ProfileTotals {
  uint64_t tensors = 0, weights = 0;
  uint64_t bytes = 0;        // TensorBytes
  uint64_t chunk_bytes = 0;  // without side information and index entries
};

struct ModelTotals {
  uint64_t tensors = 0, weights = 0, decoded_bytes = 0;
  uint64_t tensor_bytes = 0;   // TensorBytes of all
  uint64_t payload_bytes = 0;  // chunks and side information
  uint64_t side_bytes = 0;     // side information alone
  uint64_t chunks = 0, containers = 0;
  uint64_t file_bytes = 0, metadata_bytes = 0;
  uint64_t index_bytes = 0;   // without superblocks
  uint64_t codec_bytes = 0;   // entropy tables in the index
  uint64_t neural_bytes = 0;  // neural codecs in the payload
  uint64_t linear_weights = 0;
  uint64_t linear_bytes = 0;  // with the codecs, which serve linear tensors in nearly every file
  std::map<std::string, ProfileTotals> profiles;
  std::set<uint64_t> layers;

  [[nodiscard]] double BitsPerWeight() const { return 8 * Ratio(file_bytes, weights); }
  [[nodiscard]] double LinearBitsPerWeight() const {
    return 8 * Ratio(linear_bytes, linear_weights);
  }
  // Superblocks, indexes and padding.
  [[nodiscard]] uint64_t OverheadBytes() const {
    return file_bytes - payload_bytes - metadata_bytes - neural_bytes;
  }
};

// Adds one container; `index_bytes` is left to the caller.
void AddTotals(const Index& index, uint64_t file_bytes, ModelTotals* totals);

// All containers of a model.
ModelTotals TotalsOf(const ModelLoader& model);

// What all shards of a set hold, to be shown: offsets are those of each shard.
Index JoinIndexes(const ModelLoader& model);

}  // namespace nwc
