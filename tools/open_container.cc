#include "tools/open_container.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "tools/input_file.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

Status SayWhatIsThere(const Status& status, const std::string& path) {
  if (status.code() == ErrorCode::kNotFound) {
    const bool says = status.message().find("expected") != std::string::npos;
    return Status(ErrorCode::kIo,
                  status.message() + (says ? "" : ", expected an NWC file; check the path"));
  }
  if (status.rule() == 1 && path.ends_with(".safetensors")) {
    return Status::Corrupt(1, status.message() + "; pack a .safetensors file with nwc-pack first");
  }
  return status;
}

// Whether a folder has shards and no checkpoint.
bool IsFolderOfShards(const std::string& folder) {
  bool shards = false;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    if (i->path().extension() == ".safetensors") return false;
    const std::string name = i->path().filename().string();
    shards = shards || name.ends_with(kSetIndexEnding) || ParseShardName(name);
  }
  return shards;
}

}  // namespace

bool LooksLikeContainer(const std::string& path) {
  if (IsHttpUrl(path)) return true;
  const auto file = InputFile::Open(path);
  std::array<uint8_t, kMagic.size()> first{};
  return file.ok() && file->size() >= first.size() && file->Read(0, first).ok() && first == kMagic;
}

Result<std::unique_ptr<Loader>> OpenContainer(const std::string& path, const LoadOptions& options) {
  if (PathForMessages(path).ends_with(kSetIndexEnding)) {
    return Status(ErrorCode::kUsage, PathForMessages(path) +
                                         ": is the index of a set of containers, expected one "
                                         "container; name one of its shards");
  }
  auto loader = Loader::Open(path, options);
  return loader.ok() ? std::move(loader) : SayWhatIsThere(loader.status(), path);
}

Result<std::unique_ptr<ModelLoader>> OpenModel(const std::string& path,
                                               const LoadOptions& options) {
  auto model = ModelLoader::Open(path, options);
  return model.ok() ? std::move(model) : SayWhatIsThere(model.status(), path);
}

Result<std::unique_ptr<ModelLoader>> OpenModel(const std::string& path,
                                               const RemoteOptions& remote) {
  LoadOptions options;
  options.remote = remote;
  return OpenModel(path, options);
}

Result<ShardSet> OpenSet(const std::string& path, const LoadOptions& options) {
  auto set = OpenShardSet(path, options);
  return set.ok() ? std::move(set) : SayWhatIsThere(set.status(), path);
}

bool NamesPackedModel(const std::string& path) {
  if (path.ends_with(kContainerEnding) || path.ends_with(kSetIndexEnding)) return true;
  if (LooksLikeContainer(path)) return true;
  std::error_code error;
  if (fs::is_directory(path, error)) return IsFolderOfShards(path);
  return !fs::exists(path, error) && fs::exists(path + std::string(kSetIndexEnding), error);
}

}  // namespace nwc
