// GGUF files, piece by piece.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/tools/pytorch_writer.h"  // Little

namespace nwc {

struct GgufTestTensor {
  std::string name;
  std::vector<uint64_t> sizes;  // innermost first
  uint32_t type = 0;
  std::string data;
};

inline std::string GgufText(const std::string& text) {
  return Little<uint64_t>(text.size()) + text;
}
// An entry of the metadata; `value` has the type's bytes.
inline std::string GgufEntry(const std::string& key, uint32_t type, const std::string& value) {
  return GgufText(key) + Little(type) + value;
}

struct GgufOptions {
  uint32_t version = 3;
  uint64_t alignment = 32;
  char padding = 0;       // what the gaps after tensors hold
  std::string tail = {};  // after the last tensor, in place of its padding
  uint64_t shift = 0;     // added to the offset of the last tensor
};

// `entries` of metadata, whose alignment is options.alignment.
inline std::string MakeGguf(const std::vector<std::string>& entries,
                            const std::vector<GgufTestTensor>& tensors,
                            const GgufOptions& options = {}) {
  const auto pad = [&](std::string* text, char with) {
    text->resize((text->size() + options.alignment - 1) / options.alignment * options.alignment,
                 with);
  };
  std::string header = "GGUF" + Little(options.version) + Little<uint64_t>(tensors.size()) +
                       Little<uint64_t>(entries.size());
  for (const std::string& e : entries) header += e;
  std::string data;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const GgufTestTensor& t = tensors[i];
    const bool last = i + 1 == tensors.size();
    header += GgufText(t.name) + Little(static_cast<uint32_t>(t.sizes.size()));
    for (const uint64_t size : t.sizes) header += Little(size);
    header += Little(t.type) + Little<uint64_t>(data.size() + (last ? options.shift : 0));
    data += t.data;
    if (!last || options.tail.empty()) pad(&data, options.padding);
  }
  pad(&header, 0);
  return header + data + options.tail;
}

}  // namespace nwc
