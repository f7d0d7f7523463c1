#include "tools/work_folder.h"

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "tools/atomic_file.h"
#include "tools/input_file.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr const char* kSettingsName = "pack.json";
constexpr const char* kSettingsTemporary = "pack.json.tmp-";
constexpr const char* kPartEnding = ".part";
constexpr const char* kStatisticsName = "statistics.safetensors";

Result<std::vector<uint8_t>> ReadWhole(const std::string& path) {
  NWC_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  std::vector<uint8_t> bytes(file.size());
  NWC_RETURN_IF_ERROR(file.Read(0, bytes));
  return bytes;
}

Status WriteWhole(const std::string& path, ByteSpan bytes) {
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(path, /*overwrite=*/true));
  NWC_RETURN_IF_ERROR(file->Append(bytes));
  return file->Commit({});
}

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

bool IsOurs(const fs::path& path) {
  const std::string name = path.filename().string();
  const bool part = path.extension() == kPartEnding || name.find(".part.tmp-") != std::string::npos;
  return name.starts_with(kSettingsName) || name.starts_with(kStatisticsName) || part;
}

Status RemoveParts(const std::string& folder) {
  std::error_code error;
  std::vector<fs::path> parts;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (IsOurs(entry.path())) parts.push_back(entry.path());
  }
  for (const fs::path& part : parts) {
    if (!fs::remove(part, error) && error) {
      return Status(ErrorCode::kIo, part.string() + ": " + error.message());
    }
  }
  return {};
}

// The first setting that is not the same, in words; empty when all are.
std::string Difference(const std::map<std::string, std::string>& wanted,
                       const nlohmann::json& had) {
  for (const auto& [name, value] : wanted) {
    const auto found = had.find(name);
    const std::string before = found != had.end() && found->is_string() ? found->get<std::string>()
                                                                        : std::string("nothing");
    if (before != value) return name + " was " + before + ", now it is " + value;
  }
  return had.size() == wanted.size() ? "" : "it has other settings";
}

}  // namespace

PackStore Prefixed(const PackStore& store, const std::string& prefix) {
  return {[&store, prefix](const std::string& key) { return store.load(prefix + key); },
          [&store, prefix](const std::string& key, ByteSpan part) {
            return store.save(prefix + key, part);
          }};
}

WorkFolder::WorkFolder(std::string path) : path_(std::move(path)) {
  const auto file_of = [this](const std::string& key) {
    return (fs::path(path_) / (key + kPartEnding)).string();
  };
  store_.load = [file_of](const std::string& key) -> Result<std::optional<std::vector<uint8_t>>> {
    if (!Exists(file_of(key))) return std::optional<std::vector<uint8_t>>();
    NWC_ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, ReadWhole(file_of(key)));
    return std::optional(std::move(bytes));
  };
  store_.save = [file_of](const std::string& key, ByteSpan part) {
    return WriteWhole(file_of(key), part);
  };
}

Result<std::unique_ptr<WorkFolder>> WorkFolder::Open(
    const std::string& path, const std::map<std::string, std::string>& settings, bool force) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Status(ErrorCode::kIo, path + ": " + error.message());
  const std::string settings_path = (fs::path(path) / kSettingsName).string();
  if (Exists(settings_path)) {
    NWC_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, ReadWhole(settings_path));
    const auto had = nlohmann::json::parse(bytes, nullptr, /*allow_exceptions=*/false);
    const std::string difference =
        had.is_object() ? Difference(settings, had) : std::string("its pack.json is damaged");
    if (difference.empty()) return std::unique_ptr<WorkFolder>(new WorkFolder(path));
    if (!force) {
      return Status(ErrorCode::kUsage, path + ": was begun for another pack: " + difference +
                                           "; choose another folder, or --force to begin afresh");
    }
    NWC_RETURN_IF_ERROR(RemoveParts(path));
  } else {
    // Without its settings nothing in a folder is known to be ours, but the beginning of those.
    for (const auto& entry : fs::directory_iterator(path, error)) {
      if (entry.path().filename().string().starts_with(kSettingsTemporary)) continue;
      return Status(ErrorCode::kUsage,
                    path + ": holds other files, expected an empty or new folder");
    }
  }
  const std::string text = nlohmann::json(settings).dump(1);
  NWC_RETURN_IF_ERROR(
      WriteWhole(settings_path, {reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  return std::unique_ptr<WorkFolder>(new WorkFolder(path));
}

std::string WorkFolder::StatisticsPath() const {
  return (fs::path(path_) / kStatisticsName).string();
}

Status WorkFolder::Remove() {
  NWC_RETURN_IF_ERROR(RemoveParts(path_));
  std::error_code error;
  fs::remove(path_, error);  // stays when someone put other files there
  return {};
}

}  // namespace nwc
