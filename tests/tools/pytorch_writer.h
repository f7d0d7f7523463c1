// Files as torch.save writes them: zip files, pickles and both together.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace nwc {

template <typename T>
std::string Little(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

struct ZipOptions {
  bool zip64 = false;      // sizes and offsets in ZIP64 fields
  bool crc = true;         // else 0
  uint16_t method = 0;     // 8: says that the content is compressed
  std::string extra = {};  // of local headers
};

// Name and content of each entry.
inline std::string MakeZip(const std::vector<std::pair<std::string, std::string>>& entries,
                           const ZipOptions& options = {}) {
  const auto size = [](const std::string& s) { return static_cast<uint32_t>(s.size()); };
  const auto size16 = [](const std::string& s) { return static_cast<uint16_t>(s.size()); };
  constexpr uint16_t kFlags = 0x0808;  // sizes follow the content; names are UTF-8
  std::string file, directory;
  for (const auto& [name, content] : entries) {
    const auto crc = options.crc
                         ? static_cast<uint32_t>(crc32_z(
                               0, reinterpret_cast<const Bytef*>(content.data()), content.size()))
                         : 0;
    const uint64_t offset = file.size();
    std::string extra;
    if (options.zip64) {
      const uint64_t bytes = content.size();
      extra = Little<uint16_t>(1) + Little<uint16_t>(24) + Little(bytes) + Little(bytes) +
              Little(offset);
    }
    const uint32_t shown = options.zip64 ? UINT32_MAX : size(content);
    file += Little(0x04034B50u) + Little<uint16_t>(0) + Little(kFlags) + Little(options.method) +
            Little(0u) + std::string(12, '\0') + Little(size16(name)) +
            Little(size16(options.extra)) + name + options.extra + content;
    directory += Little(0x02014B50u) + Little(0u) + Little(kFlags) + Little(options.method) +
                 Little(0u) + Little(crc) + Little(shown) + Little(shown) + Little(size16(name)) +
                 Little(size16(extra)) + std::string(10, '\0') +
                 Little(options.zip64 ? UINT32_MAX : static_cast<uint32_t>(offset)) + name + extra;
  }
  const uint64_t begin = file.size(), count = entries.size(), bytes = directory.size();
  file += directory;
  if (options.zip64) {
    const uint64_t end = file.size();
    file += Little(0x06064B50u) + Little<uint64_t>(44) + std::string(12, '\0') + Little(count) +
            Little(count) + Little(bytes) + Little(begin);
    file += Little(0x07064B50u) + Little(0u) + Little(end) + Little(1u);
  }
  const auto count16 = static_cast<uint16_t>(options.zip64 ? 0xFFFF : count);
  return file + Little(0x06054B50u) + Little(0u) + Little(count16) + Little(count16) +
         Little(options.zip64 ? UINT32_MAX : size(directory)) +
         Little(options.zip64 ? UINT32_MAX : static_cast<uint32_t>(begin)) + Little<uint16_t>(0);
}

// Pieces of a pickle of protocol 2.
namespace pickle {

inline std::string Text(const std::string& text) {
  return "X" + Little(static_cast<uint32_t>(text.size())) + text;
}
inline std::string Int(int64_t value) {
  return value >= 0 && value < 256 ? "K" + Little(static_cast<uint8_t>(value))
                                   : "\x8A\x08" + Little(value);
}
inline std::string Class(const std::string& module, const std::string& name) {
  return "c" + module + "\n" + name + "\n";
}
inline std::string Tuple(const std::vector<std::string>& items) {
  std::string text = "(";
  for (const std::string& i : items) text += i;
  return text + "t";
}
inline std::string Ints(const std::vector<int64_t>& values) {
  std::vector<std::string> items;
  for (const int64_t v : values) items.push_back(Int(v));
  return Tuple(items);
}
inline std::string Call(const std::string& function, const std::vector<std::string>& arguments) {
  return function + Tuple(arguments) + "R";
}
inline std::string Storage(const std::string& type, const std::string& key, int64_t elements,
                           const std::string& module = "torch") {
  return Tuple({Text("storage"), Class(module, type), Text(key), Text("cpu"), Int(elements)}) + "Q";
}
inline std::string Tensor(const std::string& storage, int64_t offset,
                          const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  return Call(Class("torch._utils", "_rebuild_tensor_v2"),
              {storage, Int(offset), Ints(shape), Ints(strides), "\x89",
               Call(Class("collections", "OrderedDict"), {})});
}
// A whole pickle: a dict of values by name.
inline std::string Dict(const std::vector<std::pair<std::string, std::string>>& items) {
  std::string text = "\x80\x02}(";
  for (const auto& [name, value] : items) text += Text(name) + value;
  return text + "u.";
}

}  // namespace pickle

// A file with a pickle and storages by key.
inline std::string MakePyTorchFile(const std::string& pickled,
                                   const std::vector<std::pair<std::string, std::string>>& storages,
                                   const ZipOptions& options = {}) {
  std::vector<std::pair<std::string, std::string>> entries = {{"archive/data.pkl", pickled},
                                                              {"archive/byteorder", "little"}};
  for (const auto& [key, content] : storages) entries.emplace_back("archive/data/" + key, content);
  entries.emplace_back("archive/version", "3\n");
  return MakeZip(entries, options);
}

}  // namespace nwc
