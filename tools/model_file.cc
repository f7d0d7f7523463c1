#include "tools/model_file.h"

#include <utility>

#include "tools/open_container.h"
#include "tools/stop_signals.h"

namespace nwc {

uint64_t ModelTensor::weights() const {
  uint64_t n = 1;  // fits: the file that holds them was checked
  for (const uint64_t d : shape) n *= d;
  return n;
}

Result<std::unique_ptr<ModelFile>> ModelFile::Open(const std::string& path,
                                                   const LoadOptions& options) {
  std::unique_ptr<ModelFile> model(new ModelFile());
  model->path_ = PathForMessages(path);
  if (NamesPackedModel(path)) {
    NWC_ASSIGN_OR_RETURN(model->packed_, OpenModel(path, options));
    for (size_t i = 0; i < model->packed_->tensor_count(); ++i) {
      const TensorInfo& t = model->packed_->tensor(i);
      model->tensors_.push_back({t.name, t.dtype, t.shape, t.linear});
    }
    return model;
  }
  auto checkpoint = Checkpoint::Open(path);
  if (!checkpoint.ok()) {
    const Status& status = checkpoint.status();
    // What is named on the command line is missing.
    const bool missing = status.code() == ErrorCode::kNotFound;
    return missing ? Status(ErrorCode::kIo, status.message()) : status;
  }
  model->checkpoint_ = std::move(*checkpoint);
  for (const SourceTensor& t : model->checkpoint_->tensors()) {
    model->tensors_.push_back({t.name, t.dtype, t.shape, {}});
  }
  return model;
}

Result<AlignedBuffer> ModelFile::Read(size_t tensor) const {
  if (packed_ != nullptr) {
    NWC_ASSIGN_OR_RETURN(Tensor loaded, packed_->Load(tensor, {}, &StopRequested()));
    return std::move(loaded.bytes);
  }
  auto bytes = AlignedBuffer::Allocate(tensors_[tensor].bytes());
  if (!bytes.ok()) return bytes.status().WithContext(path_ + ": " + tensors_[tensor].name);
  NWC_RETURN_IF_ERROR(checkpoint_->Read(tensor, bytes->mutable_span()));
  return bytes;
}

}  // namespace nwc
