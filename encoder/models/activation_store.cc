#include "encoder/models/activation_store.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>

namespace nwc {
namespace {

// The file keeps what lies there; only the memory is given back.
void LetGo(const torch::Tensor& mapped) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(mapped.data_ptr());
  const uintptr_t begin = address / page * page;
  madvise(reinterpret_cast<void*>(begin), address - begin + mapped.nbytes(), MADV_DONTNEED);
}

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
  LetGo(view);
  used_ += tensor.numel();
  kept_[slot] = view;
}

void ActivationStore::Drop(size_t slot) {
  if (mapped_.defined()) LetGo(kept_[slot]);
  kept_[slot].reset();
}

}  // namespace nwc
