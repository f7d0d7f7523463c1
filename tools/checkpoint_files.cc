#include "tools/checkpoint_files.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <regex>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/display.h"
#include "tools/input_file.h"
#include "tools/shard_index.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxIndexJson = 256ull << 20;  // bytes

struct Kind {
  const char* what;
  std::string_view index, single;  // names; empty: has none
  std::array<std::string_view, 3> endings;
};
constexpr std::array<Kind, 3> kKinds = {{
    {"safetensors", kShardIndexName, "model.safetensors", {".safetensors"}},
    {"PyTorch", "pytorch_model.bin.index.json", "pytorch_model.bin", {".bin", ".pt", ".pth"}},
    {"GGUF", "", "", {".gguf"}},
}};

using Names = std::set<std::string>;

Result<Names> List(const std::string& folder) {
  Names names;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    names.insert(i->path().filename().string());
  }
  if (error) return Status(ErrorCode::kIo, folder + ": cannot list: " + error.message());
  return names;
}

Status ReadIndex(const std::string& path, CheckpointFiles* files) {
  NWC_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  if (file.size() > kMaxIndexJson) {
    return Status(ErrorCode::kCorrupt,
                  path + ": has " + FormatBytes(file.size()) + ", expected at most 256 MiB");
  }
  std::string json(file.size(), '\0');
  NWC_RETURN_IF_ERROR(file.Read(0, {reinterpret_cast<uint8_t*>(json.data()), json.size()}));
  auto map = ParseShardIndex(json);
  if (!map.ok()) return map.status().WithContext(path);
  files->file_of = std::move(*map);
  for (const auto& [tensor, name] : files->file_of) files->names.insert(name);
  return {};
}

std::vector<std::string> WithEnding(const Names& names, const Kind& kind) {
  std::vector<std::string> found;
  for (const std::string& name : names) {
    const auto ends = [&](std::string_view e) { return !e.empty() && name.ends_with(e); };
    if (std::any_of(kind.endings.begin(), kind.endings.end(), ends)) found.push_back(name);
  }
  return found;
}

// All parts of one GGUF file and nothing else; `names` is sorted.
bool AreParts(const std::vector<std::string>& names) {
  static const std::regex pattern("(.*)-(\\d{5})-of-(\\d{5})\\.gguf");
  std::smatch first;
  if (!std::regex_match(names[0], first, pattern)) return false;
  for (size_t i = 0; i < names.size(); ++i) {
    std::smatch match;
    if (!std::regex_match(names[i], match, pattern) || match[1] != first[1] ||
        match[3] != first[3] || std::stoul(match[2]) != i + 1) {
      return false;
    }
  }
  return std::stoul(first[3]) == names.size();
}

Status TooMany(const std::string& folder, const std::vector<std::string>& found, const Kind& kind) {
  const std::string index(kind.index);
  return Status(ErrorCode::kNotFound,
                folder + ": holds " + std::to_string(found.size()) + " " +
                    std::string(kind.endings[0]) + " files (" + Quote(found[0]) + ", " +
                    Quote(found[1]) + " ...)" +
                    (index.empty() ? ", expected one, or all parts of one; name the one to read"
                                   : " without " + index +
                                         ", expected the index or one file; download the index or "
                                         "name the one file to read"));
}

// Whether files of `kind` are there; they go to `files`.
Result<bool> Find(const std::string& folder, const Names& names, const Kind& kind,
                  CheckpointFiles* files) {
  if (!kind.index.empty() && names.contains(std::string(kind.index))) {
    files->index = kind.index;
    NWC_RETURN_IF_ERROR(ReadIndex((fs::path(folder) / kind.index).string(), files));
    return true;
  }
  if (!kind.single.empty() && names.contains(std::string(kind.single))) {
    files->names.emplace(kind.single);
    return true;
  }
  const std::vector<std::string> found = WithEnding(names, kind);
  if (found.empty()) return false;
  const bool parts = kind.index.empty() && AreParts(found);
  if (found.size() > 1 && !parts) return TooMany(folder, found, kind);
  files->names.insert(found.begin(), found.end());
  return true;
}

}  // namespace

Result<CheckpointFiles> FindCheckpointFiles(const std::string& folder) {
  NWC_ASSIGN_OR_RETURN(const Names names, List(folder));
  CheckpointFiles files;
  for (size_t k = 0; k < kKinds.size(); ++k) {
    NWC_ASSIGN_OR_RETURN(const bool found, Find(folder, names, kKinds[k], &files));
    if (!found) continue;
    for (size_t other = k + 1; other < kKinds.size(); ++other) {
      const Kind& kind = kKinds[other];
      if (WithEnding(names, kind).empty()) continue;
      files.note =
          folder + ": holds " + kind.what + " files, too; reads those of " + kKinds[k].what;
      break;
    }
    return files;
  }
  return Status(ErrorCode::kNotFound,
                folder +
                    ": holds no weights, expected model.safetensors, pytorch_model.bin, the index "
                    "of one of them or a .gguf file; name the folder of a Hugging Face checkpoint");
}

}  // namespace nwc
