#include "tools/open_container.h"

#include <algorithm>
#include <array>

#include "tools/input_file.h"

namespace nwc {

bool LooksLikeContainer(const std::string& path) {
  const auto file = InputFile::Open(path);
  std::array<uint8_t, kMagic.size()> first{};
  return file.ok() && file->size() >= first.size() && file->Read(0, first).ok() && first == kMagic;
}

Result<std::unique_ptr<Loader>> OpenContainer(const std::string& path, const LoadOptions& options) {
  auto loader = Loader::Open(path, options);
  if (loader.ok()) return loader;
  const Status& status = loader.status();
  if (status.code() == ErrorCode::kNotFound) {
    return Status(ErrorCode::kIo, status.message() + ", expected an NWC file; check the path");
  }
  if (status.rule() == 1 && path.ends_with(".safetensors")) {
    return Status::Corrupt(1, status.message() + "; pack a .safetensors file with nwc-pack first");
  }
  return loader;
}

}  // namespace nwc
