#include "loader/model_loader.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "loader/name_hint.h"
#include "loader/pipeline.h"
#include "loader/shard_set.h"
#include "loader/without_exceptions.h"

namespace nwc {
namespace {

Status HeldTwice(const Loader& first, const Loader& second, const std::string& what) {
  return Status(ErrorCode::kCorrupt, second.path() + ": " + what + " is also in " + first.path() +
                                         ", expected each in one shard; they are of different "
                                         "packs: fetch or pack the set again");
}

bool SameSources(const std::vector<ShardInfo>& a, const std::vector<ShardInfo>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const ShardInfo& x, const ShardInfo& y) { return x.name == y.name; });
}

}  // namespace

Result<std::unique_ptr<ModelLoader>> ModelLoader::Open(const std::string& path,
                                                       const LoadOptions& options) {
  std::string name;
  return WithoutExceptions(name, [&]() -> Result<std::unique_ptr<ModelLoader>> {
    name = PathForMessages(path);
    NWC_ASSIGN_OR_RETURN(ShardSet set, OpenShardSet(path, options));
    return Join(std::move(set.name), std::move(set.shards));
  });
}

Result<std::unique_ptr<ModelLoader>> ModelLoader::Join(
    std::string name, std::vector<std::unique_ptr<Loader>> shards) {
  if (shards.empty()) return Status(ErrorCode::kUsage, name + ": no shards, expected at least one");
  return WithoutExceptions("(set)", [&]() -> Result<std::unique_ptr<ModelLoader>> {
    std::unique_ptr<ModelLoader> model(new ModelLoader());
    model->path_ = std::move(name);
    model->shards_ = std::move(shards);
    NWC_RETURN_IF_ERROR(model->Number());
    return model;
  });
}

Status ModelLoader::Number() {
  std::unordered_map<std::string_view, size_t> file_shards;
  for (size_t s = 0; s < shards_.size(); ++s) {
    const Index& index = shards_[s]->index();
    if (!SameSources(index.shards, sources())) {
      return Status(ErrorCode::kCorrupt,
                    shards_[s]->path() + ": names other files of the checkpoint than " +
                        shards_[0]->path() + "; they are of different packs: fetch or pack again");
    }
    first_.push_back(tensors_.size());
    for (size_t i = 0; i < index.tensors.size(); ++i) {
      const std::string& name = index.tensors[i].name;
      const auto [at, fresh] = numbers_.emplace(name, tensors_.size());
      if (!fresh) {
        const Loader& other = *shards_[tensors_[at->second].shard];
        return HeldTwice(other, *shards_[s], "tensor '" + name + "'");
      }
      tensors_.push_back({s, i});
    }
    for (size_t i = 0; i < index.files.size(); ++i) {
      const std::string& name = index.files[i].name;
      const auto [at, fresh] = file_shards.emplace(name, s);
      if (!fresh) return HeldTwice(*shards_[at->second], *shards_[s], "file '" + name + "'");
      files_.push_back({s, i});
    }
  }
  return {};
}

uint64_t ModelLoader::file_bytes() const {
  uint64_t sum = 0;
  for (const auto& shard : shards_) sum += shard->superblock().file_size;
  return sum;
}

uint64_t ModelLoader::index_bytes() const {
  uint64_t sum = 0;
  for (const auto& shard : shards_) sum += kSuperblockSize + shard->superblock().index_size;
  return sum;
}

std::string ModelLoader::io_description() const {
  std::vector<std::string> descriptions;
  std::string all;
  for (const auto& shard : shards_) {
    const std::string one = shard->io_description();
    if (std::find(descriptions.begin(), descriptions.end(), one) != descriptions.end()) continue;
    all += (all.empty() ? "" : "; ") + one;
    descriptions.push_back(one);
  }
  return all;
}

const TensorInfo& ModelLoader::tensor(size_t tensor) const {
  const ShardPlace& at = tensors_[tensor];
  return shards_[at.shard]->index().tensors[at.number];
}

const FileInfo& ModelLoader::file(size_t file) const {
  const ShardPlace& at = files_[file];
  return shards_[at.shard]->index().files[at.number];
}

const std::vector<ShardInfo>& ModelLoader::sources() const { return shards_[0]->index().shards; }

Result<size_t> ModelLoader::Find(std::string_view name) const {
  return WithoutExceptions(path_, [&]() -> Result<size_t> {
    if (const auto it = numbers_.find(name); it != numbers_.end()) return it->second;
    std::vector<std::string_view> names;
    for (size_t i = 0; i < tensors_.size(); ++i) names.push_back(tensor(i).name);
    return Status(ErrorCode::kNotFound, path_ + ": no tensor '" + std::string(name) + "'" +
                                            NameHint(SimilarNames(name, names)));
  });
}

std::vector<size_t> ModelLoader::All() const {
  std::vector<size_t> numbers(tensors_.size());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = i;
  return numbers;
}

Result<Tensor> ModelLoader::Load(std::string_view name, const TensorSlice& slice,
                                 const std::atomic<bool>* cancel) const {
  NWC_ASSIGN_OR_RETURN(const size_t number, Find(name));
  return Load(number, slice, cancel);
}

Result<Tensor> ModelLoader::Load(size_t tensor, const TensorSlice& slice,
                                 const std::atomic<bool>* cancel) const {
  return WithoutExceptions(path_, [&]() -> Result<Tensor> {
    std::optional<Tensor> loaded;
    const TensorRequest request{tensor, slice};
    const auto keep = [&](Tensor ready) -> Status {
      loaded = std::move(ready);
      return {};
    };
    NWC_RETURN_IF_ERROR(Stream(std::span(&request, 1), keep, nullptr, cancel));
    return std::move(*loaded);
  });
}

Status ModelLoader::CheckRequests(std::span<const TensorRequest> requests) const {
  std::vector<std::vector<TensorRequest>> of_shard(shards_.size());
  for (const TensorRequest& request : requests) {
    if (request.number >= tensors_.size()) {
      return Status(ErrorCode::kUsage, path_ + ": tensor number " + std::to_string(request.number) +
                                           " of a model with " + std::to_string(tensors_.size()) +
                                           " tensors");
    }
    const ShardPlace& at = tensors_[request.number];
    of_shard[at.shard].push_back({at.number, request.slice});
  }
  for (size_t s = 0; s < shards_.size(); ++s) {
    const auto resolved = ResolveRequests(shards_[s]->index(), of_shard[s]);
    if (!resolved.ok()) return resolved.status().WithContext(shards_[s]->path());
  }
  return {};
}

std::vector<PipelinePart> ModelLoader::Parts(std::span<const TensorRequest> requests,
                                             uint64_t* codec_bytes) const {
  std::vector<PipelinePart> parts;
  for (size_t i = 0; i < requests.size();) {
    const size_t shard = tensors_[requests[i].number].shard;
    std::vector<TensorRequest> run;
    for (; i < requests.size() && tensors_[requests[i].number].shard == shard; ++i) {
      run.push_back({tensors_[requests[i].number].number, requests[i].slice});
    }
    parts.push_back(shards_[shard]->Part(std::move(run), codec_bytes));
    parts.back().first_number = first_[shard];
  }
  if (parts.empty()) parts.push_back(shards_[0]->Part({}, codec_bytes));
  return parts;
}

Status ModelLoader::Stream(std::span<const TensorRequest> requests,
                           const std::function<Status(Tensor)>& ready, LoadStatistics* statistics,
                           const std::atomic<bool>* cancel) const {
  if (statistics != nullptr) *statistics = {};
  return WithoutExceptions(path_, [&]() -> Status {
    NWC_RETURN_IF_ERROR(CheckRequests(requests));
    uint64_t codec_bytes = 0;
    const PipelineInput input{path_, Parts(requests, &codec_bytes), cancel};
    const Status status = RunPipeline(input, ready, statistics);
    if (statistics != nullptr) statistics->bytes_read += codec_bytes;
    return status;
  });
}

Status ModelLoader::Stream(const std::vector<size_t>& tensors,
                           const std::function<Status(Tensor)>& ready, LoadStatistics* statistics,
                           const std::atomic<bool>* cancel) const {
  return WithoutExceptions(path_, [&]() -> Status {
    std::vector<TensorRequest> requests;
    requests.reserve(tensors.size());
    for (const size_t number : tensors) requests.push_back({number});
    return Stream(std::span<const TensorRequest>(requests), ready, statistics, cancel);
  });
}

Result<std::vector<uint8_t>> ModelLoader::LoadFile(size_t file,
                                                   const std::atomic<bool>* cancel) const {
  if (file >= files_.size()) {
    return Status(ErrorCode::kNotFound, path_ + ": file number " + std::to_string(file) + " of " +
                                            std::to_string(files_.size()));
  }
  return shards_[files_[file].shard]->LoadFile(files_[file].number, cancel);
}

}  // namespace nwc
