// A GGUF file (numbers are little-endian, a string is its length in 8 bytes and its bytes):
//   "GGUF", version (u32), tensors (u64), metadata entries (u64)
//   for each entry:  key (string), type (u32), value
//   for each tensor: name (string), dimensions (u32), their sizes (u64), innermost first, type
//                    (u32), offset from the start of the data (u64)
//   zeros up to a multiple of general.alignment (32 without that entry), then the data of all
//   tensors in the same order, each padded likewise
#include "tools/gguf.h"

#include <algorithm>
#include <array>
#include <new>
#include <string_view>

#include "format/layout.h"
#include "tools/display.h"
#include "tools/gguf_types.h"

namespace nwc {
namespace {

constexpr uint32_t kOldestVersion = 2, kNewestVersion = 3;
constexpr uint64_t kMaxTensors = 1 << 20;
constexpr uint64_t kFirstPrefix = 1 << 20;  // bytes to try first
constexpr uint64_t kMaxRest = 1 << 20;      // bytes after the last tensor
constexpr size_t kMaxArrayDepth = 8;
constexpr std::string_view kAlignmentKey = "general.alignment";

enum ValueType : uint32_t { kUint32 = 4, kString = 8, kArray = 9 };
// Bytes of a value by its type; 0: has a length of its own.
constexpr std::array<uint8_t, 13> kValueBytes = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }
Status Unsupported(const std::string& message) { return Status(ErrorCode::kUnsupported, message); }

// Reads values one by one. Where the prefix ends, `ended` is set and all that follows is zero.
class Cursor {
 public:
  explicit Cursor(ByteSpan bytes) : bytes_(bytes) {}
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] uint64_t at() const { return at_; }

  ByteSpan Take(uint64_t count) {
    if (ended_ || count > bytes_.size() - at_) {
      ended_ = true;
      return {};
    }
    at_ += count;
    return bytes_.subspan(at_ - count, count);
  }
  template <typename T>
  T Number() {
    const ByteSpan bytes = Take(sizeof(T));
    return bytes.empty() ? T{0} : LoadLittle<T>(bytes.data());
  }
  std::string_view String() {
    const ByteSpan bytes = Take(Number<uint64_t>());
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

 private:
  ByteSpan bytes_;
  uint64_t at_ = 0;
  bool ended_ = false;
};

Status UnknownType(std::string_view key, uint32_t type) {
  return Corrupt("metadata " + Quote(key) + ": type " + std::to_string(type) +
                 ", expected 0 to 12: the file is damaged or newer than this program");
}

// Skips a value; arrays in arrays are counted down one level at a time.
Status SkipValue(std::string_view key, uint32_t type, Cursor* cursor) {
  struct Level {
    uint32_t type;
    uint64_t left;
  };
  std::vector<Level> levels = {{type, 1}};
  while (!levels.empty() && !cursor->ended()) {
    Level& level = levels.back();
    if (level.type >= kValueBytes.size()) return UnknownType(key, level.type);
    if (const uint64_t size = kValueBytes[level.type]; size != 0) {
      cursor->Take(CheckedMultiply(level.left, size).value_or(UINT64_MAX));
      level.left = 0;
    }
    if (level.left == 0) {
      levels.pop_back();
      continue;
    }
    --level.left;
    if (level.type == kString) {
      cursor->String();
      continue;
    }
    if (levels.size() > kMaxArrayDepth) {
      return Unsupported("metadata " + Quote(key) + ": arrays in arrays more than 8 deep");
    }
    const auto inner = cursor->Number<uint32_t>();
    levels.push_back({inner, cursor->Number<uint64_t>()});
  }
  return {};
}

// Skips all metadata but the alignment.
Result<uint64_t> ReadAlignment(uint64_t entries, Cursor* cursor) {
  uint64_t alignment = kGgufAlignment;
  for (uint64_t i = 0; i < entries && !cursor->ended(); ++i) {
    const std::string_view key = cursor->String();
    const auto type = cursor->Number<uint32_t>();
    if (cursor->ended()) break;
    if (key != kAlignmentKey) {
      NWC_RETURN_IF_ERROR(SkipValue(key, type, cursor));
      continue;
    }
    if (type != kUint32) return Corrupt("general.alignment is no 32-bit number, expected one");
    alignment = cursor->Number<uint32_t>();
    if (!cursor->ended() && !std::has_single_bit(alignment)) {
      return Corrupt("general.alignment is " + std::to_string(alignment) +
                     ", expected a power of two");
    }
  }
  return alignment;
}

Status QuantisedError(const StoredTensor& tensor, uint32_t type) {
  return Unsupported("tensor " + Quote(tensor.name) + ": is of type " + GgufTypeName(type) +
                     ", expected F32, F16, BF16 or whole numbers; quantised weights cannot be "
                     "packed again without loss: pack the original checkpoint");
}

// The tensor's begin and end count from the start of the data, where it should lie at `expected`.
Result<StoredTensor> ReadTensor(uint64_t expected, Cursor* cursor) {
  StoredTensor tensor;
  tensor.name = cursor->String();
  const auto dimensions = cursor->Number<uint32_t>();
  if (dimensions > kMaxDimensions) {
    return Unsupported("tensor " + Quote(tensor.name) + ": has " + std::to_string(dimensions) +
                       " dimensions, expected at most " + std::to_string(kMaxDimensions));
  }
  for (uint32_t d = 0; d < dimensions; ++d) tensor.shape.push_back(cursor->Number<uint64_t>());
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  const auto type = cursor->Number<uint32_t>();
  tensor.begin = cursor->Number<uint64_t>();
  if (cursor->ended()) return tensor;
  NWC_RETURN_IF_ERROR(CheckTensorName(tensor.name));
  const auto dtype = DTypeOfGguf(type);
  if (!dtype) return QuantisedError(tensor, type);
  tensor.dtype = *dtype;
  const auto bytes = StoredBytes(*dtype, tensor.shape);
  if (!bytes) {
    return Unsupported("tensor " + Quote(tensor.name) + ": shape " + FormatShape(tensor.shape) +
                       " is too large, expected at most 2^48 bytes");
  }
  if (tensor.begin != expected) {
    return Corrupt("tensor " + Quote(tensor.name) + ": its data begins at byte " +
                   std::to_string(tensor.begin) + ", expected " + std::to_string(expected) +
                   ", after the tensor before");
  }
  tensor.end = tensor.begin + *bytes;
  return tensor;
}

Result<std::optional<GgufHeader>> Parse(ByteSpan prefix) {
  Cursor cursor(prefix);
  const auto magic = cursor.Number<uint32_t>();
  const auto version = cursor.Number<uint32_t>();
  if (cursor.ended()) return std::optional<GgufHeader>();
  if (magic != kGgufMagic) return Corrupt("does not begin with 'GGUF', expected a GGUF file");
  if (version < kOldestVersion || version > kNewestVersion) {
    return Unsupported(version % 0x10000 == 0
                           ? std::string("is a big-endian GGUF file, expected little-endian")
                           : "is GGUF version " + std::to_string(version) +
                                 ", expected 2 or 3; convert it again with a newer converter");
  }
  const auto count = cursor.Number<uint64_t>();
  const auto entries = cursor.Number<uint64_t>();
  if (count > kMaxTensors) {
    return Unsupported("names " + std::to_string(count) + " tensors, expected at most 2^20");
  }
  NWC_ASSIGN_OR_RETURN(const uint64_t alignment, ReadAlignment(entries, &cursor));
  GgufHeader header;
  uint64_t at = 0;
  for (uint64_t i = 0; i < count && !cursor.ended(); ++i) {
    NWC_ASSIGN_OR_RETURN(StoredTensor tensor, ReadTensor(at, &cursor));
    at = AlignUp(tensor.end, alignment);
    if (at > kMaxTensorBytes * 2) return Unsupported("the tensors are too large together");
    header.tensors.push_back(std::move(tensor));
  }
  if (cursor.ended()) return std::optional<GgufHeader>();
  header.data_begin = AlignUp(cursor.at(), alignment);
  for (StoredTensor& t : header.tensors) {
    t.begin += header.data_begin;
    t.end += header.data_begin;
  }
  return std::optional<GgufHeader>(std::move(header));
}

Status CheckEnd(const GgufHeader& header, uint64_t file_size) {
  const uint64_t end = header.tensors.empty() ? header.data_begin : header.tensors.back().end;
  if (end > file_size) {
    return Corrupt("the tensors end at byte " + std::to_string(end) + ", expected at most the " +
                   std::to_string(file_size) + " of the file: it is cut short; download it again");
  }
  if (file_size - end > kMaxRest) {
    return Corrupt("the tensors end at byte " + std::to_string(end) + " and " +
                   FormatBytes(file_size - end) + " follow, expected padding only");
  }
  return {};
}

class Writer {
 public:
  template <typename T>
  void Number(T value) {
    bytes_.resize(bytes_.size() + sizeof(T));
    StoreLittle<T>(bytes_.data() + bytes_.size() - sizeof(T), value);
  }
  void String(std::string_view text) {
    Number<uint64_t>(text.size());
    bytes_.insert(bytes_.end(), text.begin(), text.end());
  }
  void Pad() { bytes_.resize(AlignUp(bytes_.size(), kGgufAlignment), 0); }
  std::vector<uint8_t>& bytes() { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

}  // namespace

Result<std::optional<GgufHeader>> ParseGgufHeader(ByteSpan prefix) {
  try {
    return Parse(prefix);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory, "no memory to read the header");
  }
}

Result<GgufHeader> ReadGgufHeader(const ReadAt& read, uint64_t file_size) {
  std::vector<uint8_t> prefix;
  for (uint64_t size = kFirstPrefix;; size *= 4) {
    const size_t known = prefix.size();
    prefix.resize(std::min({size, file_size, kMaxGgufHeader}));
    NWC_RETURN_IF_ERROR(read(known, MutableByteSpan(prefix).subspan(known)));
    NWC_ASSIGN_OR_RETURN(auto header, ParseGgufHeader(prefix));
    if (header) {
      NWC_RETURN_IF_ERROR(CheckEnd(*header, file_size));
      return std::move(*header);
    }
    if (prefix.size() == file_size) {
      return Corrupt(
          "the header goes on beyond the end of the file: it is cut short or damaged; "
          "download it again");
    }
    if (prefix.size() == kMaxGgufHeader) {
      return Unsupported("the header has more than 256 MiB, expected less");
    }
  }
}

Result<std::vector<uint8_t>> ReadGgufRest(const ReadAt& read, const GgufHeader& header,
                                          uint64_t file_size) {
  std::vector<uint8_t> rest;
  uint64_t begin = 0;
  const auto append = [&](uint64_t end) -> Status {
    if (end - begin > kMaxGgufHeader - rest.size()) {
      return Unsupported("header and padding have more than 256 MiB, expected less");
    }
    rest.resize(rest.size() + (end - begin));
    return read(begin, MutableByteSpan(rest).last(end - begin));
  };
  for (const StoredTensor& t : header.tensors) {
    if (t.begin != begin) NWC_RETURN_IF_ERROR(append(t.begin));
    begin = t.end;
  }
  if (file_size != begin) NWC_RETURN_IF_ERROR(append(file_size));
  return rest;
}

Result<std::vector<uint8_t>> SerializeGgufHeader(
    const std::vector<std::pair<std::string, std::string>>& metadata,
    std::vector<StoredTensor>* tensors) {
  Writer writer;
  writer.Number<uint32_t>(kGgufMagic);
  writer.Number<uint32_t>(kNewestVersion);
  writer.Number<uint64_t>(tensors->size());
  writer.Number<uint64_t>(metadata.size() + 1);
  for (const auto& [key, value] : metadata) {
    writer.String(key);
    writer.Number<uint32_t>(kString);
    writer.String(value);
  }
  writer.String(kAlignmentKey);
  writer.Number<uint32_t>(kUint32);
  writer.Number<uint32_t>(kGgufAlignment);
  uint64_t at = 0;
  for (StoredTensor& t : *tensors) {
    NWC_RETURN_IF_ERROR(CheckForGguf(t));
    writer.String(t.name);
    writer.Number(static_cast<uint32_t>(t.shape.size()));
    for (size_t d = t.shape.size(); d-- > 0;) writer.Number<uint64_t>(t.shape[d]);
    writer.Number<uint32_t>(*GgufTypeOf(t.dtype));
    writer.Number<uint64_t>(at);
    t.begin = at;
    t.end = at + StoredBytes(t.dtype, t.shape).value_or(0);
    at = AlignUp(t.end, kGgufAlignment);
  }
  writer.Pad();
  for (StoredTensor& t : *tensors) {
    t.begin += writer.bytes().size();
    t.end += writer.bytes().size();
  }
  return std::move(writer.bytes());
}

}  // namespace nwc
