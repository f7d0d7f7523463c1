#include "tools/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <unordered_map>

#include "tools/checkpoint_files.h"
#include "tools/display.h"
#include "tools/gguf.h"
#include "tools/metadata_files.h"
#include "tools/shard_index.h"
#include "tools/weights_file.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxShards = 65536;  // a tensor's shard number has 16 bits

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }

Status MissingShard(const std::string& path, const std::string& index) {
  std::error_code error;
  if (fs::is_symlink(path, error)) {
    return Corrupt(path + ": a symbolic link to nothing, expected weights; download it again");
  }
  return Corrupt(path + ": this shard is missing, expected every file that " + index +
                 " names; download it into the folder");
}

}  // namespace

struct Checkpoint::Impl {
  Status OpenFolder(const std::string& path);
  Status AddShard(const std::string& path);
  Status CheckUnique() const;
  Status CheckAgainstIndex() const;
  [[nodiscard]] SourceFile MakeIndex() const;

  std::string folder;  // empty for a single file
  CheckpointFiles found;
  std::vector<WeightsFile> weights;
  std::vector<std::string> names;  // of the weights' files
  std::vector<ShardInfo> shards;
  std::set<std::string> shard_names;
  std::vector<SourceTensor> tensors;
  std::vector<size_t> numbers;  // by tensor: its position among those of its file
};

Status Checkpoint::Impl::OpenFolder(const std::string& path) {
  folder = path;
  NWC_ASSIGN_OR_RETURN(found, FindCheckpointFiles(path));
  if (found.names.size() > kMaxShards) {
    return Status(ErrorCode::kUnsupported, path + ": has " + std::to_string(found.names.size()) +
                                               " shards, expected at most 65536");
  }
  for (const std::string& name : found.names) {
    const std::string file = (fs::path(path) / name).string();
    std::error_code error;
    if (!fs::exists(file, error)) return MissingShard(file, found.index);
    NWC_RETURN_IF_ERROR(AddShard(file));
  }
  NWC_RETURN_IF_ERROR(CheckUnique());
  return found.index.empty() ? Status() : CheckAgainstIndex();
}

Status Checkpoint::Impl::AddShard(const std::string& path) {
  NWC_ASSIGN_OR_RETURN(WeightsFile file, OpenWeightsFile(path));
  if (!shard_names.insert(file.shard.name).second) {
    return Status(ErrorCode::kUnsupported, path + ": would be called " + file.shard.name +
                                               " in the container, as another file; rename it");
  }
  for (size_t i = 0; i < file.tensors.size(); ++i) {
    const StoredTensor& t = file.tensors[i];
    tensors.push_back({t.name, t.dtype, t.shape, static_cast<uint16_t>(shards.size())});
    numbers.push_back(i);
  }
  names.push_back(fs::path(path).filename().string());
  shards.push_back(file.shard);
  weights.push_back(std::move(file));
  return {};
}

Status Checkpoint::Impl::CheckUnique() const {
  std::unordered_map<std::string_view, uint16_t> seen;
  for (const SourceTensor& t : tensors) {
    const auto [first, fresh] = seen.emplace(t.name, t.shard);
    if (fresh) continue;
    return Corrupt(weights[t.shard].file.path() + ": tensor " + Quote(t.name) + " is also in " +
                   names[first->second] + ", expected it once");
  }
  return {};
}

Status Checkpoint::Impl::CheckAgainstIndex() const {
  const std::string index_path = (fs::path(folder) / found.index).string();
  std::unordered_map<std::string_view, uint16_t> shard_of;
  for (const SourceTensor& t : tensors) shard_of.emplace(t.name, t.shard);
  for (const auto& [tensor, file] : found.file_of) {
    const auto at = shard_of.find(tensor);
    if (at == shard_of.end()) {
      return Corrupt(index_path + ": tensor " + Quote(tensor) + " is in no shard, expected it in " +
                     file + "; download index and shards of the same version");
    }
    if (names[at->second] != file) {
      return Corrupt(index_path + ": tensor " + Quote(tensor) + " is in " + names[at->second] +
                     ", expected it in " + file +
                     "; download index and shards of the same version");
    }
  }
  for (const SourceTensor& t : tensors) {
    if (found.file_of.contains(t.name)) continue;
    return Corrupt(weights[t.shard].file.path() + ": tensor " + Quote(t.name) + " is not in " +
                   found.index +
                   ", expected every tensor there; download index and shards of the same version");
  }
  return {};
}

// Several files unpack to several .safetensors files, which need an index.
SourceFile Checkpoint::Impl::MakeIndex() const {
  uint64_t total = 0;
  nlohmann::json map = nlohmann::json::object();
  for (const SourceTensor& t : tensors) {
    total += StoredBytes(t.dtype, t.shape).value_or(0);
    map[t.name] = shards[t.shard].name;
  }
  const nlohmann::ordered_json index = {{"metadata", {{"total_size", total}}}, {"weight_map", map}};
  const std::string text = index.dump(2) + "\n";
  return {kShardIndexName, {text.begin(), text.end()}};
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
  if (fs::is_directory(status)) {
    NWC_RETURN_IF_ERROR(impl->OpenFolder(path));
  } else {
    NWC_RETURN_IF_ERROR(impl->AddShard(path));
    NWC_RETURN_IF_ERROR(impl->CheckUnique());
  }
  return std::unique_ptr<Checkpoint>(new Checkpoint(std::move(impl)));
}

const std::vector<SourceTensor>& Checkpoint::tensors() const { return impl_->tensors; }
const std::vector<ShardInfo>& Checkpoint::shards() const { return impl_->shards; }
const std::string& Checkpoint::note() const { return impl_->found.note; }

Status Checkpoint::Read(size_t tensor, MutableByteSpan destination) const {
  if (tensor >= impl_->tensors.size()) {
    return Status(ErrorCode::kInternal,
                  "tensor number " + std::to_string(tensor) + " is out of range");
  }
  const WeightsFile& weights = impl_->weights[impl_->tensors[tensor].shard];
  const InputFile& file = weights.file;
  const StoredTensor& stored = weights.tensors[impl_->numbers[tensor]];
  const auto bytes = StoredBytes(stored.dtype, stored.shape);
  if (destination.size() != bytes) {
    return Status(ErrorCode::kInternal, file.path() + ": tensor " + Quote(stored.name) +
                                            ": asked for " + std::to_string(destination.size()) +
                                            " bytes of " + std::to_string(bytes.value_or(0)));
  }
  const auto read = [&file](uint64_t offset, MutableByteSpan out) {
    return file.Read(offset, out);
  };
  const Status status = ReadStored(read, stored, destination);
  if (status.ok()) return status;
  if (!status.message().starts_with(file.path())) {
    return status.WithContext(file.path() + ": tensor " + Quote(stored.name));
  }
  return Status(status.code(), status.message() + " (tensor " + Quote(stored.name) + ")");
}

Result<std::vector<SourceFile>> Checkpoint::ReadFiles() const {
  std::vector<SourceFile> files;
  if (!impl_->folder.empty()) {
    NWC_ASSIGN_OR_RETURN(files, ReadMetadataFiles(impl_->folder));
  }
  // What is made anew below is not taken from the folder.
  const bool gguf = !impl_->weights.empty() && impl_->weights[0].gguf;
  std::erase_if(files, [&](const SourceFile& f) {
    const bool index = f.name != kShardIndexName && f.name == impl_->found.index;
    return index || (gguf && f.name.ends_with(kGgufHeaderEnding));
  });
  if (impl_->weights.size() > 1 && impl_->found.index != kShardIndexName) {
    files.push_back(impl_->MakeIndex());
  }
  for (const WeightsFile& weights : impl_->weights) {
    if (!weights.gguf) continue;
    NWC_ASSIGN_OR_RETURN(SourceFile header, ReadGgufHeaderFile(weights));
    files.push_back(std::move(header));
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.name < b.name; });
  return files;
}

}  // namespace nwc
