#include "tools/model_totals.h"

#include <algorithm>
#include <vector>

namespace nwc {
namespace {

constexpr uint64_t kChunkEntryBytes = 24;  // in the index

void AddTensor(const TensorInfo& t, ModelTotals* totals) {
  ModelTotals& sum = *totals;
  ++sum.tensors;
  sum.weights += t.weights();
  sum.decoded_bytes += t.decoded_bytes();
  sum.tensor_bytes += TensorBytes(t);
  sum.payload_bytes += t.payload_bytes();
  const uint64_t side_bytes = t.side() == nullptr ? 0 : t.side()->size;
  sum.side_bytes += side_bytes;
  sum.chunks += t.chunks.size();
  ProfileTotals& profile = sum.profiles[ProfileOf(t)];
  ++profile.tensors;
  profile.weights += t.weights();
  profile.bytes += TensorBytes(t);
  profile.chunk_bytes += t.payload_bytes() - side_bytes;
  if (const auto layer = LayerNumber(t.name)) sum.layers.insert(*layer);
}

// Codecs of a name that is there already are the same ones.
template <typename Codec>
void AddCodecs(const std::vector<Codec>& codecs, std::vector<Codec>* all) {
  for (const Codec& codec : codecs) {
    const bool there =
        std::any_of(all->begin(), all->end(), [&](const Codec& c) { return c.name == codec.name; });
    if (!there) all->push_back(codec);
  }
}

}  // namespace

const char* ProfileOf(const TensorInfo& tensor) {
  return tensor.supported() ? ProfileName(tensor.profile()) : "unknown";
}

uint64_t TensorBytes(const TensorInfo& tensor) {
  return tensor.payload_bytes() + kChunkEntryBytes * tensor.chunks.size();
}

double Ratio(uint64_t a, uint64_t b) {
  return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

void AddTotals(const Index& index, uint64_t file_bytes, ModelTotals* totals) {
  ModelTotals& sum = *totals;
  ++sum.containers;
  sum.file_bytes += file_bytes;
  uint64_t linear_weights = 0, codec_bytes = 0, neural_bytes = 0;
  bool any_stream = false, any_neural = false;
  for (const TensorInfo& t : index.tensors) {
    AddTensor(t, &sum);
    any_stream = any_stream || t.stream.has_value();
    any_neural = any_neural || t.neural.has_value();
    if (!t.linear) continue;
    linear_weights += t.weights();
    sum.linear_bytes += TensorBytes(t);
  }
  for (const FileInfo& f : index.files) sum.metadata_bytes += f.extent.size;
  for (const CodecInfo& codec : index.codecs) {
    for (const auto& table : codec.tables.frequencies) {
      codec_bytes += 1 + table.size() * sizeof(uint16_t);  // its alphabet and its frequencies
    }
  }
  for (const NeuralCodecInfo& codec : index.neural_codecs) neural_bytes += codec.extent.size;
  if (any_stream && linear_weights != 0) sum.linear_bytes += codec_bytes;
  if (any_neural && linear_weights != 0) sum.linear_bytes += neural_bytes;
  sum.linear_weights += linear_weights;
  sum.codec_bytes += codec_bytes;
  sum.neural_bytes += neural_bytes;
}

ModelTotals TotalsOf(const ModelLoader& model) {
  ModelTotals totals;
  for (size_t i = 0; i < model.shard_count(); ++i) {
    const Loader& shard = model.shard(i);
    AddTotals(shard.index(), shard.superblock().file_size, &totals);
  }
  totals.index_bytes = model.index_bytes() - model.shard_count() * kSuperblockSize;
  return totals;
}

Index JoinIndexes(const ModelLoader& model) {
  Index all = model.shard(0).index();
  for (size_t s = 1; s < model.shard_count(); ++s) {
    const Index& shard = model.shard(s).index();
    all.tensors.insert(all.tensors.end(), shard.tensors.begin(), shard.tensors.end());
    all.files.insert(all.files.end(), shard.files.begin(), shard.files.end());
    AddCodecs(shard.codecs, &all.codecs);
    AddCodecs(shard.neural_codecs, &all.neural_codecs);
  }
  return all;
}

}  // namespace nwc
