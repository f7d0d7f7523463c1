// A safetensors file: 8 bytes length of the header, the header, the data of all tensors without
// holes. The header is one JSON object, padded with spaces:
//   {"__metadata__": {"key": "value", ...},
//    "name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
#include "tools/safetensors.h"

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>
#include <tuple>

#include "format/layout.h"
#include "tools/display.h"
#include "tools/safetensors_json.h"

namespace nwc {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kHeaderAlignment = 8;

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }

std::string Escape(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

Status CheckHeaderText(std::string_view text) {
  if (text.empty() || text.front() != '{') {
    return Corrupt("the header does not begin with '{', expected a JSON object");
  }
  if (text.find('\0') != std::string_view::npos) {
    return Corrupt("the header holds a zero byte, expected JSON padded with spaces");
  }
  return {};
}

// Bytes of a tensor, or nothing when they do not fit in 64 bits.
std::optional<uint64_t> TensorBytes(const SafetensorsEntry& entry) {
  std::optional<uint64_t> bytes = DTypeSize(entry.dtype);
  for (const uint64_t d : entry.shape) {
    bytes = CheckedMultiply(*bytes, d);
    if (!bytes) return std::nullopt;
  }
  return bytes;
}

std::string Range(const SafetensorsEntry& entry) {
  return "[" + std::to_string(entry.begin) + ", " + std::to_string(entry.end) + "]";
}

Status CheckSize(const SafetensorsEntry& entry) {
  const std::string tensor = "tensor " + Quote(entry.name) + ": ";
  if (entry.begin > entry.end) {
    return Corrupt(tensor + "data_offsets " + Range(entry) +
                   " run backwards, expected begin <= end");
  }
  const std::optional<uint64_t> bytes = TensorBytes(entry);
  if (!bytes) {
    return Corrupt(tensor + "shape " + FormatShape(entry.shape) + " of " + DTypeName(entry.dtype) +
                   " overflows, expected fewer than 2^64 bytes");
  }
  if (entry.end - entry.begin != *bytes) {
    return Corrupt(tensor + "data_offsets " + Range(entry) + " hold " +
                   std::to_string(entry.end - entry.begin) + " bytes, expected " +
                   std::to_string(*bytes) + " for shape " + FormatShape(entry.shape) + " of " +
                   DTypeName(entry.dtype));
  }
  return {};
}

// Offsets still count from the start of the data, which has `data_size` bytes.
Status CheckLayout(std::vector<SafetensorsEntry>* entries, uint64_t data_size) {
  for (const SafetensorsEntry& e : *entries) NWC_RETURN_IF_ERROR(CheckSize(e));
  std::sort(entries->begin(), entries->end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  uint64_t at = 0;
  for (const SafetensorsEntry& e : *entries) {
    if (e.begin != at) {
      return Corrupt("tensor " + Quote(e.name) + ": data_offsets " + Range(e) +
                     (e.begin < at ? " overlap the tensor before" : " leave a hole") +
                     ", expected a begin of " + std::to_string(at));
    }
    at = e.end;
  }
  if (at > data_size) {
    return Corrupt("tensor " + Quote(entries->back().name) + ": data_offsets " +
                   Range(entries->back()) + " end beyond the data, expected at most " +
                   std::to_string(data_size) + ": the file is cut short");
  }
  if (at < data_size) {
    return Corrupt("the tensors end at byte " + std::to_string(at) + " of the data, expected " +
                   std::to_string(data_size) + ": bytes of no tensor follow");
  }
  return {};
}

Result<SafetensorsHeader> ParseHeader(ByteSpan bytes, uint64_t file_size) {
  NWC_ASSIGN_OR_RETURN(const uint64_t end, SafetensorsHeaderEnd(bytes, file_size));
  if (bytes.size() != end) {
    return Corrupt("the header has " + std::to_string(bytes.size()) + " bytes, expected " +
                   std::to_string(end));
  }
  const ByteSpan body = bytes.subspan(kLengthBytes);
  const std::string_view text(reinterpret_cast<const char*>(body.data()), body.size());
  NWC_RETURN_IF_ERROR(CheckHeaderText(text));
  SafetensorsHeader header;
  NWC_RETURN_IF_ERROR(ParseSafetensorsJson(text, &header));
  header.data_begin = end;
  NWC_RETURN_IF_ERROR(CheckLayout(&header.entries, file_size - end));
  for (SafetensorsEntry& e : header.entries) {  // at most file_size, as just checked
    e.begin += end;
    e.end += end;
  }
  return header;
}

}  // namespace

Result<uint64_t> SafetensorsHeaderEnd(ByteSpan prefix, uint64_t file_size) {
  if (prefix.size() < kLengthBytes || file_size < kLengthBytes) {
    return Corrupt("the file has " + std::to_string(file_size) +
                   " bytes, expected at least 8 with the length of a safetensors header");
  }
  if (std::equal(prefix.begin(), prefix.begin() + kLengthBytes, "version ")) {
    return Corrupt("this is a Git LFS pointer, expected a safetensors file; run 'git lfs pull'");
  }
  const auto length = LoadLittle<uint64_t>(prefix.data());
  if (length > kMaxSafetensorsHeader) {
    return Corrupt("the header length is " + std::to_string(length) + ", expected at most " +
                   std::to_string(kMaxSafetensorsHeader) + ": not a safetensors file");
  }
  if (length > file_size - kLengthBytes) {
    return Corrupt("the header ends at byte " + std::to_string(length + kLengthBytes) +
                   ", expected at most the file's " + std::to_string(file_size) +
                   ": the file is cut short");
  }
  return length + kLengthBytes;
}

Result<SafetensorsHeader> ParseSafetensorsHeader(ByteSpan bytes, uint64_t file_size) {
  try {
    return ParseHeader(bytes, file_size);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory,
                  "no memory to parse a header of " + std::to_string(bytes.size()) + " bytes");
  }
}

std::vector<uint8_t> SerializeSafetensorsHeader(std::vector<SafetensorsEntry>* entries,
                                                const std::string& metadata) {
  std::string text = "{";
  if (!metadata.empty()) {
    const std::string wrapped = "{\"__metadata__\":" + metadata + "}";
    SafetensorsHeader parsed;
    const bool readable =
        CheckHeaderText(wrapped).ok() && ParseSafetensorsJson(wrapped, &parsed).ok();
    if (readable && parsed.entries.empty()) text += "\"__metadata__\":" + parsed.metadata;
  }
  uint64_t at = 0;
  for (SafetensorsEntry& e : *entries) {
    const std::optional<uint64_t> bytes = TensorBytes(e);
    assert(bytes);
    e.begin = at;
    e.end = at += bytes.value_or(0);
    if (text.size() > 1) text += ",";
    text += Escape(e.name) + ":{\"dtype\":\"" + DTypeName(e.dtype) +
            "\",\"shape\":" + nlohmann::json(e.shape).dump() + ",\"data_offsets\":[" +
            std::to_string(e.begin) + "," + std::to_string(e.end) + "]}";
  }
  text += "}";
  text.resize(AlignUp(text.size(), kHeaderAlignment), ' ');
  std::vector<uint8_t> bytes(kLengthBytes + text.size());
  StoreLittle<uint64_t>(bytes.data(), text.size());
  std::copy(text.begin(), text.end(), bytes.begin() + kLengthBytes);
  for (SafetensorsEntry& e : *entries) {
    e.begin += bytes.size();
    e.end += bytes.size();
  }
  return bytes;
}

}  // namespace nwc
