#include "tools/shard_pack.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "encoder/packed_container.h"
#include "loader/shard_set.h"
#include "tools/atomic_file.h"
#include "tools/display.h"
#include "tools/input_file.h"
#include "tools/parse_json.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr uint64_t kIndexSlack = 64;  // alignment and what tables of the index share

// Upper bounds, in bytes.
uint64_t PayloadBound(const TensorInfo& t) {
  uint64_t bytes = kPageBytes + kPayloadAlignment;
  if (const Extent* side = t.side()) bytes += side->size + kPayloadAlignment;
  for (const Chunk& chunk : t.chunks) bytes += chunk.size + kPayloadAlignment;
  return bytes;
}

uint64_t TensorBound(const TensorInfo& t) {
  Index alone;
  alone.tensors.push_back(t);
  return PayloadBound(t) + SerializeIndex(alone).size() + kIndexSlack;
}

// What every shard has besides tensors, at most; options grow by the shard's identity.
uint64_t SharedBound(const Index& index) {
  constexpr uint64_t kIdentityBytes = 1024;
  Index shared = index;
  shared.tensors.clear();
  shared.files.clear();
  uint64_t bytes = kSuperblockSize + SerializeIndex(shared).size() + kIdentityBytes;
  for (const NeuralCodecInfo& codec : index.neural_codecs) bytes += kPageBytes + codec.extent.size;
  return bytes;
}

uint64_t FilesBound(const Index& index) {
  Index files;
  files.files = index.files;
  uint64_t bytes = SerializeIndex(files).size();
  for (const FileInfo& file : index.files) bytes += file.extent.size + kPayloadAlignment;
  return bytes;
}

Status SystemError(const std::string& path, const std::string& what, int error) {
  return Status(ErrorCode::kIo, path + ": " + what + ": " + std::strerror(error));
}

std::string StemPath(const std::string& output) {
  return output.substr(0, output.size() - kContainerEnding.size());
}

fs::path FolderOf(const std::string& output) {
  const fs::path folder = fs::path(output).parent_path();
  return folder.empty() ? "." : folder;
}

// Shards of sets of this name, whatever their count.
std::vector<std::string> ShardsThere(const std::string& output) {
  const std::string stem = fs::path(StemPath(output)).filename().string();
  std::vector<std::string> found;
  std::error_code error;
  for (fs::directory_iterator i(FolderOf(output), error), end; !error && i != end;
       i.increment(error)) {
    const auto name = ParseShardName(i->path().filename().string());
    if (name && name->stem == stem) found.push_back(i->path().string());
  }
  return found;
}

Status SyncFolder(const std::string& output) {
  const std::string folder = FolderOf(output).string();
  const int descriptor = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return SystemError(folder, "cannot open", errno);
  const int error = fsync(descriptor) == 0 ? 0 : errno;
  close(descriptor);
  // EINVAL: a file system whose folders need no sync.
  return error == 0 || error == EINVAL ? Status() : SystemError(folder, "cannot sync", error);
}

// The options of a container with a shard's place in its set.
std::string OptionsOf(const std::string& options, const ShardIdentity& identity) {
  Json json = ParseJson<Json>(options);
  if (!json.is_object()) json = Json::object();
  json["shard"] = {{"set", identity.set}, {"number", identity.number}, {"count", identity.count}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

class ShardWriter {
 public:
  ShardWriter(const PackedContainer& container, std::string set, std::string parts,
              std::string output)
      : container_(container),
        set_(std::move(set)),
        parts_(std::move(parts)),
        output_(std::move(output)) {}

  Status Write(const std::vector<std::vector<size_t>>& plan) {
    for (size_t i = 0; i < plan.size(); ++i) {
      if (StopRequested()) return Status(ErrorCode::kCancelled, output_ + ": stopped");
      NWC_RETURN_IF_ERROR(WriteShard(plan, i));
    }
    return {};
  }

  // The step that makes the set: names for the shards, then the index.
  Result<WrittenSet> Publish(bool overwrite) {
    NWC_RETURN_IF_ERROR(CheckSetOutput(output_, overwrite));
    const std::vector<std::string> old = ShardsThere(output_);
    const Status status = NameAll(overwrite);
    if (!status.ok()) {
      if (old.empty()) RemoveOthers(ShardsThere(output_), {});
      return status;
    }
    RemoveOthers(old, written_.files);
    return written_;
  }

 private:
  Status NameAll(bool overwrite) {
    for (const std::string& file : written_.files) {
      const std::string from = (fs::path(parts_) / file).string();
      const std::string to = (FolderOf(output_) / file).string();
      if (std::rename(from.c_str(), to.c_str()) != 0) return SystemError(to, "cannot name", errno);
    }
    NWC_RETURN_IF_ERROR(SyncFolder(output_));
    written_.index = SetIndexPath(output_);
    return WriteIndex(overwrite);
  }

  Status WriteShard(const std::vector<std::vector<size_t>>& plan, size_t i) {
    const std::string name = fs::path(ShardPath(output_, i + 1, plan.size())).filename().string();
    ContainerPart part;
    part.tensors = plan[i];
    part.files = i == 0;
    part.options = OptionsOf(container_.index().options, {set_, i + 1, plan.size()});
    const std::string path = (fs::path(parts_) / name).string();
    NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path, false));
    const auto index = container_.WritePart(part, file.get());
    if (!index.ok()) return index.status();
    NWC_ASSIGN_OR_RETURN(const auto loader, Loader::Open(path, {}));
    const Superblock& superblock = loader->superblock();
    shards_.push_back({{"file", name},
                       {"size", superblock.file_size},
                       {"root_hash", ToHex(superblock.root_hash)}});
    for (const TensorInfo& t : index->tensors) {
      weight_map_[t.name] = name;
      decoded_bytes_ += t.decoded_bytes();
    }
    written_.files.push_back(name);
    written_.bytes += superblock.file_size;
    return {};
  }

  Status WriteIndex(bool overwrite) {
    Json json;
    json["metadata"] = {{"format", "nwc"}, {"set", set_}, {"total_size", decoded_bytes_}};
    json["shards"] = shards_;
    json["weight_map"] = weight_map_;
    const std::string text = json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
    NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(written_.index, overwrite));
    NWC_RETURN_IF_ERROR(file->Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
    return file->Commit({});
  }

  // Removes those of `paths` whose name is not in `keep`: shards that no index names.
  static void RemoveOthers(const std::vector<std::string>& paths,
                           const std::vector<std::string>& keep) {
    for (const std::string& path : paths) {
      const std::string name = fs::path(path).filename().string();
      std::error_code error;
      if (std::find(keep.begin(), keep.end(), name) == keep.end()) fs::remove(path, error);
    }
  }

  const PackedContainer& container_;
  const std::string set_, parts_, output_;
  WrittenSet written_;
  Json shards_ = Json::array();
  std::map<std::string, std::string> weight_map_;
  uint64_t decoded_bytes_ = 0;
};

}  // namespace

std::vector<std::vector<size_t>> PlanShards(const Index& index, uint64_t shard_bytes) {
  const uint64_t shared = SharedBound(index);
  std::vector<std::vector<size_t>> plan(1);
  uint64_t bytes = shared + FilesBound(index);
  bool empty = index.files.empty();
  for (size_t i = 0; i < index.tensors.size(); ++i) {
    const uint64_t tensor = TensorBound(index.tensors[i]);
    if (!empty && bytes + tensor > shard_bytes) {
      plan.emplace_back();
      bytes = shared;
    }
    plan.back().push_back(i);
    bytes += tensor;
    empty = false;
  }
  return plan;
}

std::string SetIndexPath(const std::string& output) {
  return StemPath(output) + std::string(kSetIndexEnding);
}

std::string ShardPath(const std::string& output, size_t number, size_t count) {
  return FormatShardName(
      {StemPath(output), static_cast<uint32_t>(number), static_cast<uint32_t>(count)});
}

Status CheckSetOutput(const std::string& output, bool overwrite) {
  const std::string name = fs::path(output).filename().string();
  if (!name.ends_with(kContainerEnding) || name.size() == kContainerEnding.size()) {
    return Status(ErrorCode::kUsage, output + ": with --shard-size expected a name that ends in " +
                                         std::string(kContainerEnding));
  }
  NWC_RETURN_IF_ERROR(CheckOutputPath(SetIndexPath(output), overwrite));
  for (const std::string& path : ShardsThere(output)) {
    NWC_RETURN_IF_ERROR(CheckOutputPath(path, overwrite));
  }
  return {};
}

Result<WrittenSet> WriteShards(const std::string& whole, const std::string& parts,
                               const std::string& output, uint64_t shard_bytes, bool overwrite) {
  NWC_ASSIGN_OR_RETURN(const auto loader, Loader::Open(whole, {}));
  const std::string set = ToHex(loader->superblock().root_hash);
  NWC_ASSIGN_OR_RETURN(const InputFile input, InputFile::Open(whole));
  NWC_ASSIGN_OR_RETURN(const auto container, PackedContainer::Open(
                                                 [&input](uint64_t offset, MutableByteSpan out) {
                                                   return input.Read(offset, out);
                                                 },
                                                 input.size(), 1));
  const auto plan = PlanShards(container->index(), shard_bytes);
  if (plan.size() > kMaxShards) {
    return Status(ErrorCode::kUsage, "--shard-size " + std::to_string(shard_bytes) + " makes " +
                                         std::to_string(plan.size()) +
                                         " shards, expected at most " + std::to_string(kMaxShards) +
                                         "; choose a larger size");
  }
  ShardWriter writer(*container, set, parts, output);
  NWC_RETURN_IF_ERROR(writer.Write(plan));
  return writer.Publish(overwrite);
}

}  // namespace nwc
