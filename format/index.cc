// FlatBuffers index to plain values and back. Verification order is that of the rules.
#include "format/index.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "format/index_validation.h"
#include "index_generated.h"

namespace nwc {
namespace {

constexpr int kMaxVerifierDepth = 8;

Status MissingField(const char* what) {
  return Status::Corrupt(8, std::string("index lacks ") + what);
}

Extent FromFb(const fb::Extent& e) { return {e.offset(), e.size(), e.hash()}; }

std::string FromFb(const flatbuffers::String* s) { return s != nullptr ? s->str() : std::string(); }

// Offsets of a FlatBuffer may point many times to one vector, so a small index could expand without
// bound. Vectors and strings together may not be longer than the index that holds them.
class SizeBudget {
 public:
  explicit SizeBudget(uint64_t bytes) : left_(bytes) {}
  template <typename T>
  bool Take(const flatbuffers::Vector<T>* v, size_t element_bytes) {
    return v == nullptr || Take(uint64_t{v->size()} * element_bytes);
  }
  bool Take(const flatbuffers::String* s) { return s == nullptr || Take(uint64_t{s->size()}); }

 private:
  bool Take(uint64_t bytes) {
    if (bytes > left_) return false;
    left_ -= bytes;
    return true;
  }
  uint64_t left_;
};

Status CheckExpansion(const fb::Index& root, size_t index_bytes) {
  SizeBudget budget(index_bytes);
  bool fits = budget.Take(root.producer()) && budget.Take(root.options()) &&
              budget.Take(root.tensors(), 4) && budget.Take(root.files(), 4) &&
              budget.Take(root.codecs(), 4) && budget.Take(root.shards(), 4) &&
              budget.Take(root.neural_codecs(), 4);
  for (uint32_t i = 0; fits && root.tensors() != nullptr && i < root.tensors()->size(); ++i) {
    const fb::Tensor& t = *root.tensors()->Get(i);
    fits = budget.Take(t.name()) && budget.Take(t.shape(), sizeof(uint64_t)) &&
           budget.Take(t.chunks(), sizeof(fb::Chunk));
  }
  for (uint32_t i = 0; fits && root.files() != nullptr && i < root.files()->size(); ++i) {
    fits = budget.Take(root.files()->Get(i)->name());
  }
  for (uint32_t i = 0; fits && root.codecs() != nullptr && i < root.codecs()->size(); ++i) {
    const fb::Codec& c = *root.codecs()->Get(i);
    fits = budget.Take(c.name()) && budget.Take(c.alphabet(), 1) && budget.Take(c.frequencies(), 2);
  }
  for (uint32_t i = 0; fits && root.neural_codecs() != nullptr && i < root.neural_codecs()->size();
       ++i) {
    fits = budget.Take(root.neural_codecs()->Get(i)->name());
  }
  for (uint32_t i = 0; fits && root.shards() != nullptr && i < root.shards()->size(); ++i) {
    const fb::Shard& s = *root.shards()->Get(i);
    fits = budget.Take(s.name()) && budget.Take(s.metadata());
  }
  if (!fits) return Status::Corrupt(8, "index shares vectors or strings and would expand");
  return {};
}

Result<StreamInfo> FromFb(const fb::Stream& s) {
  if (s.side() == nullptr) return MissingField("a side extent");
  StreamInfo info;
  info.codec = s.codec();
  info.trellis = s.trellis();
  info.scale = s.scale();
  info.offset1 = s.offset1();
  info.offset2 = s.offset2();
  info.side = FromFb(*s.side());
  info.row_gains = s.row_gains();
  return info;
}

Result<NeuralInfo> FromFb(const fb::Neural& n) {
  if (n.side() == nullptr) return MissingField("a side extent");
  return NeuralInfo{n.codec(), n.scale(), FromFb(*n.side())};
}

Result<NeuralCodecInfo> FromFb(const fb::NeuralCodec& c) {
  if (c.extent() == nullptr) return MissingField("a neural codec's extent");
  NeuralCodecInfo info;
  info.name = FromFb(c.name());
  info.chunk = c.chunk();
  info.latents = c.latents();
  info.width = c.width();
  info.blocks = c.blocks();
  info.qualities = c.qualities();
  info.extent = FromFb(*c.extent());
  return info;
}

Result<TensorInfo> FromFb(const fb::Tensor& t) {
  if (t.name() == nullptr || t.decoded_hash() == nullptr) {
    return MissingField("a tensor's name or decoded hash");
  }
  TensorInfo info;
  info.name = t.name()->str();
  // Kept as they are: the rules judge them later.
  info.dtype = static_cast<DType>(t.dtype());
  info.profile_value = t.profile();
  info.linear = t.linear();
  if (t.shape() != nullptr) info.shape.assign(t.shape()->begin(), t.shape()->end());
  info.rows = t.rows();
  info.columns = t.columns();
  info.tile_rows = t.tile_rows();
  info.tile_columns = t.tile_columns();
  info.decoded_hash = {t.decoded_hash()->low(), t.decoded_hash()->high()};
  info.shard = t.shard();
  if (t.chunks() != nullptr) {
    info.chunks.reserve(t.chunks()->size());
    for (const fb::Chunk* c : *t.chunks()) {
      if (c->zero() != 0) {
        return Status::Corrupt(15,
                               "a reserved field of a chunk of '" + info.name + "' is not zero");
      }
      info.chunks.push_back({c->offset(), c->hash(), c->size()});
    }
  }
  if (t.stream() != nullptr) {
    NWC_ASSIGN_OR_RETURN(info.stream, FromFb(*t.stream()));
  }
  if (t.neural() != nullptr) {
    NWC_ASSIGN_OR_RETURN(info.neural, FromFb(*t.neural()));
  }
  return info;
}

Result<CodecInfo> FromFb(const fb::Codec& c) {
  const auto* alphabet = c.alphabet();
  const auto* values = c.frequencies();
  CodecInfo info;
  info.name = FromFb(c.name());
  auto& tables = info.tables.frequencies;
  if (alphabet == nullptr || values == nullptr || alphabet->size() != tables.size()) {
    return Status::Corrupt(18, "codec '" + info.name + "' does not hold 128 tables");
  }
  uint32_t at = 0;
  for (uint32_t i = 0; i < alphabet->size(); ++i) {
    const uint32_t count = alphabet->Get(i) + 1u;
    if (count > values->size() - at) {
      return Status::Corrupt(18, "codec '" + info.name + "' is cut short");
    }
    tables[i].assign(values->begin() + at, values->begin() + at + count);
    at += count;
  }
  if (at != values->size()) {
    return Status::Corrupt(18, "codec '" + info.name + "' has frequencies left over");
  }
  return info;
}

Result<Index> Convert(const fb::Index& root) {
  Index index;
  for (uint32_t i = 0; root.tensors() != nullptr && i < root.tensors()->size(); ++i) {
    NWC_ASSIGN_OR_RETURN(auto tensor, FromFb(*root.tensors()->Get(i)));
    index.tensors.push_back(std::move(tensor));
  }
  for (uint32_t i = 0; root.files() != nullptr && i < root.files()->size(); ++i) {
    const fb::File& f = *root.files()->Get(i);
    if (f.extent() == nullptr) return MissingField("a file's extent");
    index.files.push_back({FromFb(f.name()), FromFb(*f.extent())});
  }
  if (root.codecs() != nullptr && root.codecs()->size() > kMaxCodecs) {
    return Status::Corrupt(18, "more than 256 codecs");
  }
  for (uint32_t i = 0; root.codecs() != nullptr && i < root.codecs()->size(); ++i) {
    NWC_ASSIGN_OR_RETURN(auto codec, FromFb(*root.codecs()->Get(i)));
    index.codecs.push_back(std::move(codec));
  }
  for (uint32_t i = 0; root.shards() != nullptr && i < root.shards()->size(); ++i) {
    const fb::Shard& s = *root.shards()->Get(i);
    index.shards.push_back({FromFb(s.name()), FromFb(s.metadata())});
  }
  if (root.neural_codecs() != nullptr && root.neural_codecs()->size() > kMaxCodecs) {
    return Status::Corrupt(32, "more than 256 neural codecs");
  }
  for (uint32_t i = 0; root.neural_codecs() != nullptr && i < root.neural_codecs()->size(); ++i) {
    NWC_ASSIGN_OR_RETURN(auto codec, FromFb(*root.neural_codecs()->Get(i)));
    index.neural_codecs.push_back(std::move(codec));
  }
  index.producer = FromFb(root.producer());
  index.options = FromFb(root.options());
  return index;
}

fb::Extent ToFb(const Extent& e) { return {e.offset, e.hash, e.size}; }

flatbuffers::Offset<fb::Tensor> ToFb(const TensorInfo& t, flatbuffers::FlatBufferBuilder* b) {
  const auto name = b->CreateString(t.name);
  const auto shape = b->CreateVector(t.shape);
  std::vector<fb::Chunk> structs;
  structs.reserve(t.chunks.size());
  for (const Chunk& c : t.chunks) structs.emplace_back(c.offset, c.hash, c.size, 0u);
  const auto chunks = b->CreateVectorOfStructs(structs);
  flatbuffers::Offset<fb::Stream> stream;
  if (t.stream) {
    const fb::Extent side = ToFb(t.stream->side);
    stream = fb::CreateStream(*b, t.stream->codec, t.stream->trellis, t.stream->scale,
                              t.stream->offset1, t.stream->offset2, &side, t.stream->row_gains);
  }
  flatbuffers::Offset<fb::Neural> neural;
  if (t.neural) {
    const fb::Extent side = ToFb(t.neural->side);
    neural = fb::CreateNeural(*b, t.neural->codec, t.neural->scale, &side);
  }
  const fb::Hash128 hash(t.decoded_hash.low, t.decoded_hash.high);
  return fb::CreateTensor(*b, name, static_cast<uint8_t>(t.dtype), t.profile_value, t.linear, shape,
                          t.rows, t.columns, t.tile_rows, t.tile_columns, chunks, &hash, t.shard,
                          stream, neural);
}

flatbuffers::Offset<fb::Codec> ToFb(const CodecInfo& codec, flatbuffers::FlatBufferBuilder* b) {
  std::vector<uint8_t> alphabet;
  std::vector<uint16_t> values;
  for (const auto& table : codec.tables.frequencies) {
    alphabet.push_back(static_cast<uint8_t>(table.size() - 1));
    values.insert(values.end(), table.begin(), table.end());
  }
  const auto name = b->CreateString(codec.name);
  const auto alphabet_vector = b->CreateVector(alphabet);
  const auto value_vector = b->CreateVector(values);
  return fb::CreateCodec(*b, name, alphabet_vector, value_vector);
}

}  // namespace

const char* ProfileName(Profile profile) {
  switch (profile) {
    case Profile::kRaw:
      return "raw";
    case Profile::kExact:
      return "exact";
    case Profile::kStream:
      return "stream";
    case Profile::kNwc:
      return "nwc";
  }
  return "unknown";
}

uint64_t TensorInfo::grid_rows() const { return DivideRoundingUp(rows, tile_rows); }
uint64_t TensorInfo::grid_columns() const { return DivideRoundingUp(columns, tile_columns); }

TileRange TensorInfo::Tile(size_t chunk) const {
  const uint64_t across = grid_columns();
  TileRange tile;
  tile.row_begin = chunk / across * tile_rows;
  tile.row_end = std::min(rows, tile.row_begin + tile_rows);
  tile.column_begin = chunk % across * tile_columns;
  tile.column_end = std::min(columns, tile.column_begin + tile_columns);
  return tile;
}

const Extent* TensorInfo::side() const {
  if (stream) return &stream->side;
  return neural ? &neural->side : nullptr;
}

uint64_t TensorInfo::payload_bytes() const {
  uint64_t bytes = side() != nullptr ? side()->size : 0;
  for (const Chunk& c : chunks) bytes += c.size;
  return bytes;
}

Result<NeuralCodec> ReadNeuralCodec(const NeuralCodecInfo& info, ByteSpan bytes) {
  if (const uint64_t found = Hash64(bytes); found != info.extent.hash) {
    return Status::Corrupt(34, "hash is " + ToHex(found) + ", expected " + ToHex(info.extent.hash));
  }
  NWC_ASSIGN_OR_RETURN(NeuralCodec codec, ParseNeuralCodec(info, bytes));
  codec.name = info.name;
  return codec;
}

uint32_t FeaturesOf(const Index& index) {
  const bool gains = std::any_of(index.tensors.begin(), index.tensors.end(),
                                 [](const auto& t) { return t.stream && t.stream->row_gains; });
  return (index.neural_codecs.empty() ? 0 : kNeuralFeature) | (gains ? kRowGainFeature : 0);
}

std::vector<uint8_t> SerializeIndex(const Index& index) {
  flatbuffers::FlatBufferBuilder b(1 << 16);
  std::vector<flatbuffers::Offset<fb::Tensor>> tensors;
  for (const TensorInfo& t : index.tensors) tensors.push_back(ToFb(t, &b));
  std::vector<flatbuffers::Offset<fb::File>> files;
  for (const FileInfo& f : index.files) {
    const fb::Extent extent = ToFb(f.extent);
    files.push_back(fb::CreateFile(b, b.CreateString(f.name), &extent));
  }
  std::vector<flatbuffers::Offset<fb::Codec>> codecs;
  for (const CodecInfo& c : index.codecs) codecs.push_back(ToFb(c, &b));
  std::vector<flatbuffers::Offset<fb::Shard>> shards;
  for (const ShardInfo& s : index.shards) {
    const auto name = b.CreateString(s.name);
    shards.push_back(fb::CreateShard(b, name, b.CreateString(s.metadata)));
  }
  std::vector<flatbuffers::Offset<fb::NeuralCodec>> neural_codecs;
  for (const NeuralCodecInfo& c : index.neural_codecs) {
    const fb::Extent extent = ToFb(c.extent);
    neural_codecs.push_back(fb::CreateNeuralCodec(b, b.CreateString(c.name), c.chunk, c.latents,
                                                  c.width, c.blocks, c.qualities, &extent));
  }
  const auto producer = b.CreateString(index.producer);
  const auto options = b.CreateString(index.options);
  const auto tensor_vector = b.CreateVector(tensors);
  const auto file_vector = b.CreateVector(files);
  const auto codec_vector = b.CreateVector(codecs);
  const auto shard_vector = b.CreateVector(shards);
  // Absent in a file without neural codecs, which so stays one of version 1.0, byte for byte.
  flatbuffers::Offset<flatbuffers::Vector<flatbuffers::Offset<fb::NeuralCodec>>> neural_vector;
  if (!neural_codecs.empty()) neural_vector = b.CreateVector(neural_codecs);
  fb::FinishIndexBuffer(b, fb::CreateIndex(b, tensor_vector, file_vector, codec_vector,
                                           shard_vector, producer, options, neural_vector));
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

Result<Index> ParseIndex(ByteSpan bytes, const Superblock& superblock) {
  if (bytes.size() != superblock.index_size || Hash128Of(bytes) != superblock.root_hash) {
    return Status::Corrupt(7, "root hash does not match: the index is damaged");
  }
  // Every table needs at least a vtable offset in the buffer, so the count is bounded by the size.
  const auto max_tables = static_cast<flatbuffers::uoffset_t>(bytes.size() / 4 + 1);
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), kMaxVerifierDepth, max_tables);
  if (!fb::VerifyIndexBuffer(verifier)) {
    return Status::Corrupt(8, "index is not a valid FlatBuffer with identifier NWC1");
  }
  const fb::Index& root = *fb::GetIndex(bytes.data());
  NWC_RETURN_IF_ERROR(CheckExpansion(root, bytes.size()));
  NWC_ASSIGN_OR_RETURN(Index index, Convert(root));
  NWC_RETURN_IF_ERROR(ValidateIndex(index, superblock));
  return index;
}

std::optional<uint64_t> LayerNumber(std::string_view name) {
  while (!name.empty()) {
    const size_t dot = name.find('.');
    const std::string_view part = name.substr(0, dot);
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), number);
    if (error == std::errc() && end == part.data() + part.size()) return number;
    if (dot == std::string_view::npos) break;
    name.remove_prefix(dot + 1);
  }
  return std::nullopt;
}

}  // namespace nwc
