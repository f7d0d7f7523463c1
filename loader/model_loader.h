// One model in one container or in a set of them (shards), here or on a web server.
//
//   NWC_ASSIGN_OR_RETURN(auto model, ModelLoader::Open("model.nwc.index.json", {}));
//   NWC_ASSIGN_OR_RETURN(Tensor weight, model->Load("model.norm.weight"));
//
// As a Loader (loader/loader.h), with the same verbs: immutable after Open, for many threads.
// Tensors are numbered through all shards: shard by shard, in file order.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "loader/loader.h"

namespace nwc {

// Where a tensor or a metadata file is.
struct ShardPlace {
  size_t shard = 0;
  size_t number = 0;  // there
};

class ModelLoader {
 public:
  // What `path` may be, and the errors: OpenShardSet (loader/shard_set.h). A tensor or file that
  // two shards have is kCorrupt.
  static Result<std::unique_ptr<ModelLoader>> Open(const std::string& path,
                                                   const LoadOptions& options);
  // The same over open shards, at least one; `name` is for messages.
  static Result<std::unique_ptr<ModelLoader>> Join(std::string name,
                                                   std::vector<std::unique_ptr<Loader>> shards);

  // Without user, password and query of a URL: the index of a set, or the container.
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] size_t shard_count() const { return shards_.size(); }
  [[nodiscard]] const Loader& shard(size_t number) const { return *shards_[number]; }
  [[nodiscard]] uint64_t file_bytes() const;   // of all shards
  [[nodiscard]] uint64_t index_bytes() const;  // superblocks and indexes of all shards
  // Loader::io_description of every shard, each once, with "; " between.
  [[nodiscard]] std::string io_description() const;

  [[nodiscard]] size_t tensor_count() const { return tensors_.size(); }
  [[nodiscard]] const ShardPlace& place(size_t tensor) const { return tensors_[tensor]; }
  [[nodiscard]] const TensorInfo& tensor(size_t tensor) const;
  [[nodiscard]] size_t file_count() const { return files_.size(); }
  [[nodiscard]] const FileInfo& file(size_t file) const;
  // The files of the checkpoint that was packed; TensorInfo::shard is a position here.
  [[nodiscard]] const std::vector<ShardInfo>& sources() const;

  // Number of a tensor, or kNotFound with a hint of similar names.
  [[nodiscard]] Result<size_t> Find(std::string_view name) const;
  [[nodiscard]] std::vector<size_t> All() const;

  Result<Tensor> Load(std::string_view name, const TensorSlice& slice = {},
                      const std::atomic<bool>* cancel = nullptr) const;
  Result<Tensor> Load(size_t tensor, const TensorSlice& slice = {},
                      const std::atomic<bool>* cancel = nullptr) const;

  // As Loader::Stream, through all shards at once: a shard's reads begin while tensors of the one
  // before are being decoded, and one LoadOptions::staging_bytes, the smallest of the shards', is
  // the budget for all. All requests are checked before anything is read. While it runs it has 40
  // bytes for each chunk that is wanted, beside the 24 of the index.
  Status Stream(std::span<const TensorRequest> requests, const std::function<Status(Tensor)>& ready,
                LoadStatistics* statistics = nullptr,
                const std::atomic<bool>* cancel = nullptr) const;
  // Whole tensors.
  Status Stream(const std::vector<size_t>& tensors, const std::function<Status(Tensor)>& ready,
                LoadStatistics* statistics = nullptr,
                const std::atomic<bool>* cancel = nullptr) const;

  // What Stream checks before it reads anything.
  [[nodiscard]] Status CheckRequests(std::span<const TensorRequest> requests) const;

  // A metadata file of the checkpoint, checked (R30).
  Result<std::vector<uint8_t>> LoadFile(size_t file,
                                        const std::atomic<bool>* cancel = nullptr) const;

 private:
  ModelLoader() = default;
  Status Number();
  // Requests that follow each other in one shard are a part.
  [[nodiscard]] std::vector<PipelinePart> Parts(std::span<const TensorRequest> requests,
                                                uint64_t* codec_bytes) const;

  std::string path_;
  std::vector<std::unique_ptr<Loader>> shards_;
  std::vector<size_t> first_;  // number of each shard's first tensor
  std::vector<ShardPlace> tensors_, files_;
  std::unordered_map<std::string_view, size_t> numbers_;  // by name; views into the shards
};

}  // namespace nwc
