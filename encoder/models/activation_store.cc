#include "encoder/models/activation_store.h"

#include <filesystem>
#include <random>

namespace nwc {
namespace {

char* BytesOf(const torch::Tensor& tensor) { return static_cast<char*>(tensor.data_ptr()); }

}  // namespace

Result<ActivationStore> ActivationStore::Create(size_t count, uint64_t bytes,
                                                uint64_t memory_bytes) {
  ActivationStore store;
  store.kept_.resize(count);
  if (bytes <= memory_bytes) return store;
  std::error_code error;
  const auto folder = std::filesystem::temp_directory_path(error);
  const auto space = error ? std::filesystem::space_info{} : std::filesystem::space(folder, error);
  if (error || space.available < bytes) {
    return Status(ErrorCode::kIo, folder.string() + ": calibration needs " +
                                      std::to_string(bytes >> 20) +
                                      " MiB there for hidden states; set TMPDIR to a folder with "
                                      "room, or take fewer windows");
  }
  const auto path = folder / ("nwc-hidden-" + std::to_string(std::random_device{}()));
  store.folder_ = folder.string();
  store.file_ = std::make_unique<std::fstream>(
      path, std::ios::in | std::ios::out | std::ios::trunc | std::ios::binary);
  if (!*store.file_) return store.Failed("make");
  std::filesystem::remove(path, error);  // it lives on while it is open
  return store;
}

Status ActivationStore::Failed(const char* what) const {
  return Status(ErrorCode::kIo, folder_ + ": cannot " + what +
                                    " the file of calibration's hidden states; is there room?");
}

Status ActivationStore::Keep(size_t slot, const torch::Tensor& tensor) {
  const torch::Tensor own = tensor.cpu().contiguous();
  if (file_ == nullptr) {
    kept_[slot].tensor = own;
    return {};
  }
  const auto bytes = static_cast<std::streamsize>(own.nbytes());
  file_->seekp(used_);
  file_->write(BytesOf(own), bytes);
  file_->flush();
  if (!*file_) return Failed("write");
  kept_[slot] = {{}, own.sizes().vec(), used_};
  used_ += bytes;
  return {};
}

Result<torch::Tensor> ActivationStore::Get(size_t slot) {
  const Kept& kept = kept_[slot];
  if (kept.tensor.defined()) return kept.tensor;
  torch::Tensor tensor = torch::empty(kept.shape, torch::kFloat32);
  file_->seekg(kept.offset);
  file_->read(BytesOf(tensor), static_cast<std::streamsize>(tensor.nbytes()));
  if (!*file_) return Failed("read");
  return tensor;
}

}  // namespace nwc
