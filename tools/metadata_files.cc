#include "tools/metadata_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <string_view>

#include "tools/display.h"
#include "tools/input_file.h"
#include "tools/shard_index.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 7> kEndings = {".json", ".txt", ".model",      ".jinja",
                                                      ".md",   ".py",  ".gguf-header"};
constexpr std::array<std::string_view, 4> kBeginnings = {"tokenizer", "license", "licence",
                                                         "notice"};
constexpr std::array<std::string_view, 14> kWeights = {
    ".safetensors", ".bin", ".pt",   ".pth", ".ckpt", ".onnx",   ".h5",
    ".msgpack",     ".ot",  ".gguf", ".npz", ".nwc",  ".tflite", ".nwc.index.json"};

Result<SourceFile> ReadOne(const std::string& path, const std::string& name) {
  if (const Status s = CheckFileName(name); !s.ok()) return s.WithContext(path);
  NWC_ASSIGN_OR_RETURN(const InputFile file, InputFile::Open(path));
  if (file.size() > kMaxMetadataFile) {
    return Status(ErrorCode::kUnsupported,
                  path + ": a metadata file of " + FormatBytes(file.size()) +
                      ", expected at most 256 MiB; move it out of the folder");
  }
  SourceFile result{name, std::vector<uint8_t>(file.size())};
  NWC_RETURN_IF_ERROR(file.Read(0, result.content));
  return result;
}

}  // namespace

bool IsMetadataFile(const std::string& name) {
  std::string lower = name;
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto ends = [&](std::string_view ending) { return lower.ends_with(ending); };
  const auto begins = [&](std::string_view beginning) { return lower.starts_with(beginning); };
  if (lower.empty() || lower[0] == '.' || std::any_of(kWeights.begin(), kWeights.end(), ends)) {
    return false;
  }
  return std::any_of(kEndings.begin(), kEndings.end(), ends) ||
         std::any_of(kBeginnings.begin(), kBeginnings.end(), begins);
}

Result<std::vector<SourceFile>> ReadMetadataFiles(const std::string& folder) {
  std::vector<SourceFile> files;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    const std::string name = i->path().filename().string();
    if (!IsMetadataFile(name)) continue;
    std::error_code unused;
    const fs::file_status status = fs::status(i->path(), unused);
    // A dangling link goes on to an error: leaving out a tokenizer must not go unnoticed.
    if (fs::exists(status) && !fs::is_regular_file(status)) continue;
    NWC_ASSIGN_OR_RETURN(SourceFile file, ReadOne(i->path().string(), name));
    files.push_back(std::move(file));
  }
  if (error) return Status(ErrorCode::kIo, folder + ": cannot list: " + error.message());
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.name < b.name; });
  return files;
}

}  // namespace nwc
