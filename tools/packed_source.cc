#include "tools/packed_source.h"

#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

#include "loader/model_loader.h"
#include "tools/checkpoint.h"
#include "tools/display.h"
#include "tools/open_container.h"

namespace nwc {
namespace {

class ContainerSource : public TensorSource {
 public:
  explicit ContainerSource(std::unique_ptr<ModelLoader> model) : model_(std::move(model)) {
    for (size_t i = 0; i < model_->tensor_count(); ++i) {
      const TensorInfo& t = model_->tensor(i);
      tensors_.push_back({t.name, t.dtype, t.shape, t.shard});
    }
  }

  [[nodiscard]] const std::vector<SourceTensor>& tensors() const override { return tensors_; }
  [[nodiscard]] const std::vector<ShardInfo>& shards() const override { return model_->sources(); }
  Status Read(size_t tensor, MutableByteSpan destination) const override {
    NWC_ASSIGN_OR_RETURN(const Tensor loaded, model_->Load(tensor));
    const ByteSpan bytes = loaded.bytes.span();
    if (!bytes.empty()) std::memcpy(destination.data(), bytes.data(), bytes.size());
    return {};
  }

 private:
  std::unique_ptr<ModelLoader> model_;
  std::vector<SourceTensor> tensors_;
};

Status Differs(const std::string& name, const std::string& how) {
  return Status(ErrorCode::kUsage,
                "tensor " + Quote(name) + " " + how + "; expected two versions of one model");
}

}  // namespace

Result<PackedModel> OpenPacked(const std::string& path, int threads) {
  PackedModel model;
  if (NamesPackedModel(path)) {
    LoadOptions options;
    options.threads = threads;
    NWC_ASSIGN_OR_RETURN(auto packed, OpenModel(path, options));
    model.bits.emplace();
    for (size_t i = 0; i < packed->shard_count(); ++i) {
      const Loader& shard = packed->shard(i);
      *model.bits += CountBits(shard.index(), shard.superblock().file_size);
    }
    model.source = std::make_unique<ContainerSource>(std::move(packed));
    return model;
  }
  auto checkpoint = Checkpoint::Open(path);
  if (!checkpoint.ok()) {
    const Status& status = checkpoint.status();
    const bool missing = status.code() == ErrorCode::kNotFound;
    return missing ? Status(ErrorCode::kIo, status.message()) : status;
  }
  model.source = std::move(*checkpoint);
  return model;
}

Status CheckSameTensors(const TensorSource& original, const TensorSource& packed) {
  std::unordered_map<std::string, const SourceTensor*> waiting;
  for (const SourceTensor& t : packed.tensors()) waiting[t.name] = &t;
  for (const SourceTensor& t : original.tensors()) {
    const auto found = waiting.find(t.name);
    if (found == waiting.end()) return Differs(t.name, "of the model is not in the packed one");
    if (found->second->shape != t.shape) {
      return Differs(t.name, "is " + FormatShape(t.shape) + " in the model and " +
                                 FormatShape(found->second->shape) + " in the packed one");
    }
    waiting.erase(found);
  }
  for (const SourceTensor& t : packed.tensors()) {
    if (waiting.contains(t.name)) return Differs(t.name, "of the packed model is not in the model");
  }
  return {};
}

}  // namespace nwc
