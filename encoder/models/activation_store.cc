#include "encoder/models/activation_store.h"

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

namespace nwc {
namespace {

constexpr uint64_t kMemoryBytes = 4ull << 30;

}  // namespace

Result<ActivationStore> ActivationStore::Create(size_t count, uint64_t bytes) {
  ActivationStore store;
  store.kept_.resize(count);
  if (bytes <= kMemoryBytes) return store;
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
  store.mapped_ = torch::from_file(path.string(), /*shared=*/true,
                                   static_cast<int64_t>(bytes / sizeof(float)), torch::kFloat32);
  std::filesystem::remove(path, error);  // the mapping keeps it
  return store;
}

void ActivationStore::Keep(size_t slot, const torch::Tensor& tensor) {
  if (!mapped_.defined()) {
    kept_[slot] = tensor.cpu();
    return;
  }
  torch::Tensor view = mapped_.narrow(0, used_, tensor.numel()).view(tensor.sizes());
  view.copy_(tensor);
  used_ += tensor.numel();
  kept_[slot] = view;
}

}  // namespace nwc
