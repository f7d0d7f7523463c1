#include "format/index_validation.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <unordered_set>

#include "format/exact_chunk.h"
#include "format/neural_lines.h"
#include "format/stream_chunk.h"
#include "format/trellis.h"

namespace nwc {
namespace {

constexpr float kMinScale = 0x1p-40f, kMaxScale = 0x1p40f;
constexpr int kMaxOffset = 31;

using NameSet = std::unordered_set<std::string_view>;

// "tensor 'name' what", as rule `rule`.
Status Bad(int rule, const TensorInfo& t, const std::string& what) {
  return Status::Corrupt(rule, "tensor '" + t.name.substr(0, 200) + "' " + what);
}

// Well-formed UTF-8 without overlong forms, surrogates or values above U+10FFFF (RFC 3629).
bool IsUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80   ? 1
                          : lead < 0xC2 ? 0
                          : lead < 0xE0 ? 2
                          : lead < 0xF0 ? 3
                          : lead < 0xF5 ? 4
                                        : 0;
    if (length == 0 || length > text.size() - i) return false;
    for (size_t j = 1; j < length; ++j) {
      if ((static_cast<unsigned char>(text[i + j]) & 0xC0) != 0x80) return false;
    }
    const auto second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) ||
        (lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) {
      return false;
    }
    i += length;
  }
  return true;
}

// `__metadata__` is not a tensor in safetensors, from where names come and to where they go.
Status CheckName(const TensorInfo& t, NameSet* seen) {
  if (t.name.empty() || t.name.size() > kMaxNameBytes || t.name == "__metadata__" ||
      !IsUtf8(t.name)) {
    return Bad(9, t, "has an empty, overlong or reserved name, or one that is not UTF-8");
  }
  if (!seen->insert(t.name).second) return Bad(9, t, "appears twice");
  return {};
}

// What a shape multiplies to, and without its zeros: those must not hide an overflow of the others
// from readers that multiply in order.
struct ShapeProducts {
  uint64_t elements = 1;
  uint64_t spanned = 1;
};

Status CheckShape(const TensorInfo& t, ShapeProducts* products) {
  if (t.shape.size() > kMaxDimensions) return Bad(10, t, "has more than 8 dimensions");
  for (const uint64_t d : t.shape) {
    const auto next = CheckedMultiply(products->spanned, std::max<uint64_t>(d, 1));
    if (!next || *next > kMaxTensorBytes) return Bad(10, t, "is larger than 2^48 bytes");
    products->spanned = *next;
    products->elements *= d;
  }
  return {};
}

Status CheckDType(const TensorInfo& t, const ShapeProducts& products) {
  if (static_cast<int>(t.dtype) >= kDTypeCount) return Bad(11, t, "has an unknown dtype");
  if (products.spanned > kMaxTensorBytes / DTypeSize(t.dtype)) {
    return Bad(10, t, "is larger than 2^48 bytes");
  }
  const bool coded = t.supported() && t.profile() != Profile::kRaw;
  if (coded && !IsCodedFloat(t.dtype)) {
    return Bad(12, t,
               std::string("has dtype ") + DTypeName(t.dtype) + ", which its profile cannot code");
  }
  return {};
}

Status CheckTiles(const TensorInfo& t, uint64_t elements) {
  const auto product = CheckedMultiply(t.rows, t.columns);
  if (!product || *product != elements)
    return Bad(13, t, "has a matrix view that is not its shape");
  if (t.tile_rows == 0 || t.tile_columns == 0) return Bad(13, t, "has empty tiles");
  const uint64_t rows = std::min<uint64_t>(t.rows, t.tile_rows);
  const uint64_t columns = std::min<uint64_t>(t.columns, t.tile_columns);
  const auto weights = CheckedMultiply(rows, columns);
  if (!weights || *weights > kMaxTileBytes / DTypeSize(t.dtype)) {
    return Bad(13, t, "has tiles larger than 2^31 bytes");
  }
  if (!t.supported()) return {};
  if (t.profile() == Profile::kStream || t.profile() == Profile::kNwc) {
    if (elements == 0 || *weights > kMaxStreamTileWeights || columns > kMaxStreamTileColumns) {
      return Bad(13, t, "is empty or has tiles too large for its profile");
    }
  } else if (t.tile_columns < t.columns) {
    return Bad(13, t, "has tiles that do not span all columns");
  }
  return {};
}

Status CheckChunkCount(const TensorInfo& t, uint64_t elements) {
  uint64_t expected = 0;
  if (elements != 0) {
    const auto grid = CheckedMultiply(t.grid_rows(), t.grid_columns());
    expected = grid.value_or(UINT64_MAX);
  }
  if (t.chunks.size() != expected) {
    return Bad(14, t,
               "has " + std::to_string(t.chunks.size()) + " chunks, its grid has " +
                   std::to_string(expected));
  }
  return {};
}

// Walks the payload in file order.
class PayloadWalk {
 public:
  explicit PayloadWalk(uint64_t end) : end_(end) {}

  // Whether [offset, offset + size) may come next; moves on.
  bool Next(uint64_t offset, uint64_t size) {
    if (offset < at_ || offset - at_ > kMaxGapBytes || offset % kPayloadAlignment != 0 ||
        offset > end_ || size > end_ - offset) {
      return false;
    }
    at_ = offset + size;
    return true;
  }
  [[nodiscard]] bool AtEnd() const { return end_ - at_ <= kMaxGapBytes; }

 private:
  uint64_t at_ = kSuperblockSize;
  uint64_t end_;
};

Status CheckPayload(const Index& index, const Superblock& superblock) {
  PayloadWalk walk(superblock.index_offset);
  for (const FileInfo& f : index.files) {
    if (!walk.Next(f.extent.offset, f.extent.size)) {
      return Status::Corrupt(15, "file '" + f.name.substr(0, 200) + "' lies at a wrong place");
    }
  }
  for (const NeuralCodecInfo& c : index.neural_codecs) {
    if (!walk.Next(c.extent.offset, c.extent.size)) {
      return Status::Corrupt(15,
                             "neural codec '" + c.name.substr(0, 200) + "' lies at a wrong place");
    }
  }
  for (const TensorInfo& t : index.tensors) {
    if (t.stream && !walk.Next(t.stream->side.offset, t.stream->side.size)) {
      return Bad(15, t, "has side information at a wrong place");
    }
    if (t.neural && !walk.Next(t.neural->side.offset, t.neural->side.size)) {
      return Bad(15, t, "has side information at a wrong place");
    }
    for (const Chunk& c : t.chunks) {
      if (!walk.Next(c.offset, c.size)) return Bad(15, t, "has a chunk at a wrong place");
    }
  }
  if (!walk.AtEnd()) return Status::Corrupt(15, "bytes before the index belong to nothing");
  return {};
}

// Lower bounds keep what a reader allocates for a tensor in proportion to the file.
bool IsPossibleChunkSize(const Index& index, const TensorInfo& t, const TileRange& tile,
                         uint64_t size) {
  const uint64_t elements = tile.weights();
  const uint64_t decoded = elements * DTypeSize(t.dtype);
  const uint64_t most = 2 * decoded + 65536;
  switch (t.profile()) {
    case Profile::kRaw:
      return size == decoded;
    case Profile::kExact:
      return size >= kExactHeaderBytes + elements * (DTypeSize(t.dtype) - 1) && size <= most;
    case Profile::kStream:
      return size >= kStreamHeaderBytes && size <= most;
    case Profile::kNwc: {
      // A latent takes at most a word and an escape; a chunk an id; a tile has ≤ 2^20 weights.
      const NeuralSettings& s = index.neural_codecs[t.neural->codec];
      const uint64_t chunks = DivideRoundingUp(tile.rows(), s.chunk) * tile.columns();
      return size >= kNeuralHeaderBytes &&
             size <= decoded + 4 * chunks * (s.latents + uint64_t{1}) + 65536;
    }
  }
  return false;
}

Status CheckChunkSizes(const Index& index, const TensorInfo& t) {
  if (!t.supported()) return {};
  for (size_t i = 0; i < t.chunks.size(); ++i) {
    const uint64_t size = t.chunks[i].size;
    if (!IsPossibleChunkSize(index, t, t.Tile(i), size)) {
      return Bad(16, t,
                 "chunk " + std::to_string(i) + " cannot have " + std::to_string(size) + " bytes");
    }
  }
  return {};
}

bool IsPossibleScale(float scale) { return scale >= kMinScale && scale <= kMaxScale; }

Status CheckStream(const TensorInfo& t, const Index& index) {
  if (!t.supported()) return {};
  if (t.stream.has_value() != (t.profile() == Profile::kStream)) {
    return Bad(17, t, "has stream parameters against its profile, or lacks them");
  }
  if (!t.stream) return {};
  const StreamInfo& s = *t.stream;
  if (s.codec >= index.codecs.size() || s.trellis >= kTrellisCount || !IsPossibleScale(s.scale) ||
      std::abs(s.offset1) > kMaxOffset || std::abs(s.offset2) > kMaxOffset) {
    return Bad(17, t, "has stream parameters out of range");
  }
  return {};
}

Status CheckNeural(const TensorInfo& t, const Index& index) {
  if (t.neural && t.stream) return Bad(33, t, "has both stream and neural parameters");
  if (!t.supported()) return {};
  if (t.neural.has_value() != (t.profile() == Profile::kNwc)) {
    return Bad(33, t, "has neural parameters against its profile, or lacks them");
  }
  if (t.neural &&
      (t.neural->codec >= index.neural_codecs.size() || !IsPossibleScale(t.neural->scale))) {
    return Bad(33, t, "has neural parameters out of range");
  }
  return {};
}

Status CheckFeatures(const Index& index, const Superblock& superblock) {
  const uint32_t wrong = superblock.required_features ^ FeaturesOf(index);
  if ((wrong & kNeuralFeature) != 0) {
    return Status::Corrupt(32, "neural codecs against the features in the superblock");
  }
  if ((wrong & kRowGainFeature) != 0) {
    return Status::Corrupt(38, "row gains against the features in the superblock");
  }
  return {};
}

Status CheckNeuralCodecs(const Index& index) {
  for (const NeuralCodecInfo& c : index.neural_codecs) {
    if (!c.InRange() || c.extent.size < c.min_stored_bytes() ||
        c.extent.size > c.max_stored_bytes()) {
      return Status::Corrupt(32, "neural codec '" + c.name.substr(0, 200) +
                                     "' has settings out of range or an impossible size");
    }
  }
  return {};
}

bool IsSafeFileName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxFileNameBytes && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(), [](char c) {
           return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
         });
}

Status CheckFileNames(const Index& index) {
  NameSet seen;
  const auto check = [&](const std::string& name) -> Status {
    if (!IsSafeFileName(name) || !seen.insert(name).second) {
      return Status::Corrupt(19, "a file name is empty, unsafe or used twice");
    }
    return {};
  };
  for (const FileInfo& f : index.files) NWC_RETURN_IF_ERROR(check(f.name));
  for (const ShardInfo& s : index.shards) NWC_RETURN_IF_ERROR(check(s.name));
  for (const TensorInfo& t : index.tensors) {
    if (t.shard >= index.shards.size()) return Bad(19, t, "belongs to a shard that is not there");
  }
  return {};
}

}  // namespace

Status ValidateIndex(const Index& index, const Superblock& superblock) {
  NameSet names;
  for (const TensorInfo& t : index.tensors) {
    ShapeProducts products;
    NWC_RETURN_IF_ERROR(CheckName(t, &names));
    NWC_RETURN_IF_ERROR(CheckShape(t, &products));
    NWC_RETURN_IF_ERROR(CheckDType(t, products));
    NWC_RETURN_IF_ERROR(CheckTiles(t, products.elements));
    NWC_RETURN_IF_ERROR(CheckChunkCount(t, products.elements));
  }
  NWC_RETURN_IF_ERROR(CheckPayload(index, superblock));
  NWC_RETURN_IF_ERROR(CheckFeatures(index, superblock));
  NWC_RETURN_IF_ERROR(CheckNeuralCodecs(index));
  for (const TensorInfo& t : index.tensors) {
    NWC_RETURN_IF_ERROR(CheckNeural(t, index));
    NWC_RETURN_IF_ERROR(CheckChunkSizes(index, t));
    NWC_RETURN_IF_ERROR(CheckStream(t, index));
  }
  for (const CodecInfo& c : index.codecs) NWC_RETURN_IF_ERROR(c.tables.Validate());
  return CheckFileNames(index);
}

}  // namespace nwc
