#include "tools/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <unordered_map>

#include "tools/display.h"
#include "tools/input_file.h"
#include "tools/metadata_files.h"
#include "tools/shard_index.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSingleName = "model.safetensors";
constexpr const char* kWeightsEnding = ".safetensors";
constexpr uint64_t kMaxIndexJson = 256ull << 20;  // bytes
constexpr size_t kMaxShards = 65536;              // a tensor's shard number has 16 bits

using WeightMap = std::map<std::string, std::string>;  // file name by tensor name

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }

bool EndsWith(const std::string& text, std::string_view ending) {
  return text.size() >= ending.size() && std::string_view(text).ends_with(ending);
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

Result<WeightMap> ReadWeightMap(const std::string& path) {
  NWC_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  if (file.size() > kMaxIndexJson) {
    return Corrupt(path + ": has " + FormatBytes(file.size()) + ", expected at most 256 MiB");
  }
  std::string json(file.size(), '\0');
  NWC_RETURN_IF_ERROR(file.Read(0, {reinterpret_cast<uint8_t*>(json.data()), json.size()}));
  auto map = ParseShardIndex(json);
  if (!map.ok()) return map.status().WithContext(path);
  return map;
}

// What a folder without usable weights gets told.
Status NoWeights(const std::string& folder, const std::vector<std::string>& names) {
  const bool torch = std::any_of(names.begin(), names.end(), [](const std::string& n) {
    return EndsWith(n, ".bin") || EndsWith(n, ".pt") || EndsWith(n, ".pth");
  });
  if (torch) {
    return Status(ErrorCode::kNotFound,
                  folder +
                      ": holds PyTorch pickles only, expected model.safetensors; convert it once "
                      "in Python: AutoModel.from_pretrained(folder).save_pretrained(new_folder, "
                      "safe_serialization=True)");
  }
  return Status(ErrorCode::kNotFound,
                folder +
                    ": holds no weights, expected model.safetensors or "
                    "model.safetensors.index.json; name the folder of a Hugging Face checkpoint");
}

// The .safetensors file of a folder without an index.
Result<std::string> FindSingleFile(const std::string& folder) {
  if (Exists(fs::path(folder) / kSingleName)) return std::string(kSingleName);
  std::vector<std::string> names, weights;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    names.push_back(i->path().filename().string());
    if (EndsWith(names.back(), kWeightsEnding)) weights.push_back(names.back());
  }
  if (error) return Status(ErrorCode::kIo, folder + ": cannot list: " + error.message());
  if (weights.empty()) return NoWeights(folder, names);
  if (weights.size() == 1) return weights.front();
  std::sort(weights.begin(), weights.end());
  return Status(ErrorCode::kNotFound,
                folder + ": holds " + std::to_string(weights.size()) + " .safetensors files (" +
                    Quote(weights[0]) + ", " + Quote(weights[1]) +
                    " ...) without model.safetensors.index.json, expected the index or one file; "
                    "download the index or name the one file to read");
}

Status MissingShard(const std::string& path) {
  std::error_code error;
  if (fs::is_symlink(path, error)) {
    return Corrupt(path + ": a symbolic link to nothing, expected weights; download it again");
  }
  return Corrupt(path + ": this shard is missing, expected every file that " + kShardIndexName +
                 " names; download it into the folder");
}

}  // namespace

struct Checkpoint::Impl {
  struct Location {
    uint64_t begin, end;  // bytes of the shard
  };

  // `names` in ascending order, files of `folder`.
  Status OpenShards(const std::set<std::string>& names, const std::string& folder);
  Status AddShard(const std::string& name, const std::string& path);
  Status CheckUnique() const;
  Status CheckAgainst(const WeightMap& map, const std::string& index_path) const;

  std::string folder;  // empty for a single file
  std::vector<InputFile> files;
  std::vector<ShardInfo> shards;
  std::vector<SourceTensor> tensors;
  std::vector<Location> locations;  // by tensor
};

Status Checkpoint::Impl::OpenShards(const std::set<std::string>& names, const std::string& where) {
  if (names.size() > kMaxShards) {
    return Status(ErrorCode::kUnsupported, where + ": has " + std::to_string(names.size()) +
                                               " shards, expected at most 65536");
  }
  for (const std::string& name : names) {
    const std::string path = (fs::path(where) / name).string();
    if (!Exists(path)) return MissingShard(path);
    NWC_RETURN_IF_ERROR(AddShard(name, path));
  }
  return CheckUnique();
}

Status Checkpoint::Impl::AddShard(const std::string& name, const std::string& path) {
  if (const Status s = CheckFileName(name); !s.ok()) return s.WithContext(path);
  NWC_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
  std::vector<uint8_t> bytes(std::min<uint64_t>(file.size(), 8));
  NWC_RETURN_IF_ERROR(file.Read(0, bytes));
  const auto end = SafetensorsHeaderEnd(bytes, file.size());
  if (!end.ok()) return end.status().WithContext(path);
  bytes.resize(*end);
  NWC_RETURN_IF_ERROR(file.Read(0, bytes));
  auto header = ParseSafetensorsHeader(bytes, file.size());
  if (!header.ok()) return header.status().WithContext(path);
  for (SafetensorsEntry& e : header->entries) {
    locations.push_back({e.begin, e.end});
    tensors.push_back(
        {std::move(e.name), e.dtype, std::move(e.shape), static_cast<uint16_t>(shards.size())});
  }
  shards.push_back({name, std::move(header->metadata)});
  files.push_back(std::move(file));
  return {};
}

Status Checkpoint::Impl::CheckUnique() const {
  std::unordered_map<std::string_view, uint16_t> seen;
  for (const SourceTensor& t : tensors) {
    const auto [first, fresh] = seen.emplace(t.name, t.shard);
    if (fresh) continue;
    return Corrupt(files[t.shard].path() + ": tensor " + Quote(t.name) + " is also in " +
                   shards[first->second].name + ", expected it once");
  }
  return {};
}

Status Checkpoint::Impl::CheckAgainst(const WeightMap& map, const std::string& index_path) const {
  std::unordered_map<std::string_view, uint16_t> found;
  for (const SourceTensor& t : tensors) found.emplace(t.name, t.shard);
  for (const auto& [tensor, file] : map) {
    const auto at = found.find(tensor);
    if (at == found.end()) {
      return Corrupt(index_path + ": tensor " + Quote(tensor) + " is in no shard, expected it in " +
                     file + "; download index and shards of the same version");
    }
    if (shards[at->second].name != file) {
      return Corrupt(index_path + ": tensor " + Quote(tensor) + " is in " +
                     shards[at->second].name + ", expected it in " + file +
                     "; download index and shards of the same version");
    }
  }
  for (const SourceTensor& t : tensors) {
    if (map.contains(t.name)) continue;
    return Corrupt(files[t.shard].path() + ": tensor " + Quote(t.name) + " is not in " +
                   kShardIndexName +
                   ", expected every tensor there; download index and shards of the same version");
  }
  return {};
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::~Checkpoint() = default;

Result<std::unique_ptr<Checkpoint>> Checkpoint::Open(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    return Status(ErrorCode::kIo,
                  path + ": no such file or folder, expected a checkpoint; download it first");
  }
  if (error) return Status(ErrorCode::kIo, path + ": cannot inspect: " + error.message());
  if (!fs::is_directory(status)) {
    NWC_RETURN_IF_ERROR(impl->AddShard(fs::path(path).filename().string(), path));
    NWC_RETURN_IF_ERROR(impl->CheckUnique());
    return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
  }
  impl->folder = path;
  const std::string index_path = (fs::path(path) / kShardIndexName).string();
  if (Exists(index_path)) {
    NWC_ASSIGN_OR_RETURN(const WeightMap map, ReadWeightMap(index_path));
    std::set<std::string> names;
    for (const auto& [tensor, file] : map) names.insert(file);
    NWC_RETURN_IF_ERROR(impl->OpenShards(names, path));
    NWC_RETURN_IF_ERROR(impl->CheckAgainst(map, index_path));
  } else {
    NWC_ASSIGN_OR_RETURN(const std::string name, FindSingleFile(path));
    NWC_RETURN_IF_ERROR(impl->OpenShards({name}, path));
  }
  return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
}

const std::vector<SourceTensor>& Checkpoint::tensors() const { return impl_->tensors; }
const std::vector<ShardInfo>& Checkpoint::shards() const { return impl_->shards; }

Status Checkpoint::Read(size_t tensor, MutableByteSpan destination) const {
  if (tensor >= impl_->tensors.size()) {
    return Status(ErrorCode::kInternal,
                  "tensor number " + std::to_string(tensor) + " is out of range");
  }
  const Impl::Location where = impl_->locations[tensor];
  const InputFile& file = impl_->files[impl_->tensors[tensor].shard];
  const std::string& name = impl_->tensors[tensor].name;
  if (destination.size() != where.end - where.begin) {
    return Status(ErrorCode::kInternal, file.path() + ": tensor " + Quote(name) + ": asked for " +
                                            std::to_string(destination.size()) + " bytes of " +
                                            std::to_string(where.end - where.begin));
  }
  const Status status = file.Read(where.begin, destination);
  if (status.ok()) return status;
  return Status(status.code(), status.message() + " (tensor " + Quote(name) + ")");
}

Result<std::vector<SourceFile>> Checkpoint::ReadFiles() const {
  if (impl_->folder.empty()) return std::vector<SourceFile>();
  return ReadMetadataFiles(impl_->folder);
}

}  // namespace nwc
