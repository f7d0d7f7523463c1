// Opens containers for the commands of nwc.
#pragma once

#include <memory>
#include <string>

#include "loader/loader.h"
#include "loader/model_loader.h"
#include "loader/shard_set.h"

namespace nwc {

// Loader::Open; a missing file is kIo, and a file that is something else says what it is.
Result<std::unique_ptr<Loader>> OpenContainer(const std::string& path, const LoadOptions& options);

// ModelLoader::Open; what is missing is kIo.
Result<std::unique_ptr<ModelLoader>> OpenModel(const std::string& path, const LoadOptions& options);
Result<std::unique_ptr<ModelLoader>> OpenModel(const std::string& path,
                                               const RemoteOptions& remote);

// OpenShardSet; what is missing is kIo.
Result<ShardSet> OpenSet(const std::string& path, const LoadOptions& options);

// Whether OpenModel, and no reader of checkpoints, is for this path: a URL, a container, the index
// of a set or the name it stands for, or a folder with a set and without .safetensors files.
bool NamesPackedModel(const std::string& path);

// Whether the file begins as a container does. False when it cannot be read; true for a URL, where
// nothing else is read from.
bool LooksLikeContainer(const std::string& path);

}  // namespace nwc
