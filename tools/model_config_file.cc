#include "tools/model_config_file.h"

#include <filesystem>

#include "tools/input_file.h"

namespace nwc {
namespace {

constexpr uint64_t kMaxConfig = 16 << 20;  // bytes

}  // namespace

Result<std::string> ReadModelConfig(const std::string& folder) {
  const std::string path = (std::filesystem::path(folder) / "config.json").string();
  const auto file = InputFile::Open(path);
  if (!file.ok()) return Status(ErrorCode::kIo, file.status().message());
  if (file->size() > kMaxConfig) {
    return Status(ErrorCode::kUsage, path + ": larger than 16 MiB, expected a configuration");
  }
  std::string text(file->size(), '\0');
  NWC_RETURN_IF_ERROR(file->Read(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  return text;
}

}  // namespace nwc
