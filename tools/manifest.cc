#include "tools/manifest.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "loader/byte_source.h"
#include "tools/atomic_file.h"
#include "tools/display.h"
#include "tools/input_file.h"
#include "tools/open_container.h"
#include "tools/parse_json.h"
#include "tools/progress.h"
#include "tools/report_text.h"
#include "tools/sha256.h"
#include "tools/stop_signals.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormat = "nwc-manifest";
constexpr uint64_t kVersion = 1;
constexpr uint64_t kMaxManifestBytes = 256ull << 20;
constexpr size_t kBlockBytes = 4 << 20;
constexpr size_t kHexDigits = 64;

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }

Status Stopped(const Loader& loader) {
  return Status(ErrorCode::kCancelled, loader.path() + ": stopped");
}

std::string BaseName(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

// One counter for both passes.
struct Counter {
  const ManifestProgress& progress;
  uint64_t done = 0, total = 0;

  void Add(const std::string& item, uint64_t bytes) {
    done += bytes;
    if (progress) progress(item, done, total);
  }
};

Result<ManifestFile> HashContainer(const Loader& loader, Counter* counter) {
  const ByteSource& source = loader.source();
  ManifestFile file{BaseName(loader.path()), source.size(), ""};
  NWC_ASSIGN_OR_RETURN(const auto hash, Sha256::Create());
  std::vector<uint8_t> block(std::min<uint64_t>(kBlockBytes, source.size()));
  for (uint64_t at = 0; at < source.size(); at += block.size()) {
    if (StopRequested()) return Stopped(loader);
    block.resize(std::min<uint64_t>(block.size(), source.size() - at));
    NWC_RETURN_IF_ERROR(source.ReadUnlessStopped(at, block, StopRequested()));
    NWC_RETURN_IF_ERROR(hash->Add(block));
    counter->Add(file.name, block.size());
  }
  NWC_ASSIGN_OR_RETURN(file.sha256, hash->FinishHex());
  return file;
}

// ---- reading

bool IsHash(const Json& value) {
  if (!value.is_string()) return false;
  const auto& text = value.get_ref<const std::string&>();
  return text.size() == kHexDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

const Json& Field(const Json& object, const char* name) {
  static const Json kMissing;  // null
  const auto found = object.find(name);
  return found == object.end() ? kMissing : *found;
}

Status CheckHead(const Json& json) {
  if (!json.is_object() || Field(json, "format") != kFormat) {
    return Corrupt("is not a manifest: expected an object with \"format\": \"nwc-manifest\"");
  }
  const Json& version = Field(json, "version");
  if (!version.is_number_unsigned()) return Corrupt("\"version\" is not a number");
  if (version != kVersion) {
    return Status(ErrorCode::kUnsupported,
                  "version of the manifest is " + std::to_string(version.get<uint64_t>()) +
                      ", expected " + std::to_string(kVersion) + ": use a newer nwc");
  }
  const Json& files = Field(json, "files");
  if (!files.is_array() || files.empty()) return Corrupt("\"files\" is not a list of files");
  if (!Field(json, "tensors").is_array()) return Corrupt("\"tensors\" is not a list");
  return {};
}

Result<ManifestFile> ParseFile(const Json& json) {
  if (!json.is_object() || !Field(json, "name").is_string() ||
      !Field(json, "bytes").is_number_unsigned() || !IsHash(Field(json, "sha256"))) {
    return Corrupt("an entry of \"files\" lacks a name, its bytes or a SHA-256 of 64 digits");
  }
  return ManifestFile{Field(json, "name").get<std::string>(), Field(json, "bytes").get<uint64_t>(),
                      Field(json, "sha256").get<std::string>()};
}

Result<ManifestTensor> ParseTensor(const Json& json, size_t number) {
  const std::string where = "tensor number " + std::to_string(number);
  if (!json.is_object() || !Field(json, "name").is_string()) return Corrupt(where + " has no name");
  ManifestTensor tensor;
  tensor.name = Field(json, "name").get<std::string>();
  const Json& shape = Field(json, "shape");
  const bool sizes = shape.is_array() && std::all_of(shape.begin(), shape.end(), [](const Json& d) {
                       return d.is_number_unsigned();
                     });
  if (!Field(json, "dtype").is_string() || !sizes || !IsHash(Field(json, "sha256"))) {
    return Corrupt("tensor " + Quote(tensor.name) +
                   " lacks a dtype, a shape or a SHA-256 of 64 digits");
  }
  tensor.dtype = Field(json, "dtype").get<std::string>();
  tensor.shape = shape.get<std::vector<uint64_t>>();
  tensor.sha256 = Field(json, "sha256").get<std::string>();
  return tensor;
}

Result<Manifest> ParseManifest(const std::string& text) {
  const Json json = ParseJson<Json>(text);
  if (json.is_discarded()) return Corrupt("is not JSON, or nested too deep");
  NWC_RETURN_IF_ERROR(CheckHead(json));
  Manifest manifest;
  for (const Json& entry : json["files"]) {
    NWC_ASSIGN_OR_RETURN(ManifestFile file, ParseFile(entry));
    manifest.files.push_back(std::move(file));
  }
  std::unordered_set<std::string> names;
  for (const Json& entry : json["tensors"]) {
    NWC_ASSIGN_OR_RETURN(ManifestTensor tensor, ParseTensor(entry, manifest.tensors.size()));
    if (!names.insert(tensor.name).second) {
      return Corrupt("tensor " + Quote(tensor.name) + " is there twice");
    }
    manifest.tensors.push_back(std::move(tensor));
  }
  return manifest;
}

// ---- comparing

void CompareTensor(const ManifestTensor& expected, const ManifestTensor& got,
                   std::vector<ManifestDifference>* differences) {
  const auto add = [&](const char* what, const std::string& e, const std::string& g) {
    if (e != g) differences->push_back({expected.name, "", what, e, g});
  };
  add("dtype", expected.dtype, got.dtype);
  add("shape", FormatShape(expected.shape), FormatShape(got.shape));
  add("sha256", expected.sha256, got.sha256);
}

void CompareFiles(const Manifest& expected, const Manifest& got,
                  std::vector<ManifestDifference>* differences) {
  const auto add = [&](const std::string& file, const char* what, const std::string& e,
                       const std::string& g) {
    if (e != g) differences->push_back({"", file, what, e, g});
  };
  add("", "files", std::to_string(expected.files.size()), std::to_string(got.files.size()));
  for (size_t i = 0; i < std::min(expected.files.size(), got.files.size()); ++i) {
    const ManifestFile &e = expected.files[i], &g = got.files[i];
    add(e.name, "sha256", e.sha256, g.sha256);
    add(e.name, "bytes", std::to_string(e.bytes), std::to_string(g.bytes));
  }
}

}  // namespace

Result<Manifest> MakeManifest(const ModelLoader& model, const ManifestProgress& progress) {
  Manifest manifest;
  Counter counter{progress};
  counter.total = model.file_bytes();
  for (size_t i = 0; i < model.tensor_count(); ++i) {
    counter.total += model.tensor(i).decoded_bytes();
  }
  for (size_t i = 0; i < model.shard_count(); ++i) {
    NWC_ASSIGN_OR_RETURN(ManifestFile file, HashContainer(model.shard(i), &counter));
    manifest.files.push_back(std::move(file));
  }
  const auto add = [&](const Tensor& tensor) -> Status {
    NWC_ASSIGN_OR_RETURN(std::string hash, Sha256Hex(tensor.bytes.span()));
    manifest.tensors.push_back(
        {tensor.info.name, DTypeName(tensor.info.dtype), tensor.info.shape, std::move(hash)});
    counter.Add(tensor.info.name, tensor.bytes.size());
    return {};
  };
  NWC_RETURN_IF_ERROR(model.Stream(model.All(), add, nullptr, &StopRequested()));
  return manifest;
}

std::string FormatManifest(const Manifest& manifest) {
  Json json;
  json["format"] = kFormat;
  json["version"] = kVersion;
  json["files"] = Json::array();
  for (const ManifestFile& f : manifest.files) {
    json["files"].push_back({{"name", f.name}, {"bytes", f.bytes}, {"sha256", f.sha256}});
  }
  json["tensors"] = Json::array();
  for (const ManifestTensor& t : manifest.tensors) {
    json["tensors"].push_back(
        {{"name", t.name}, {"dtype", t.dtype}, {"shape", t.shape}, {"sha256", t.sha256}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Manifest> ReadManifest(const std::string& path) {
  const auto file = InputFile::Open(path);
  if (!file.ok()) {
    const Status& status = file.status();
    const bool missing = status.code() == ErrorCode::kNotFound;
    return missing ? Status(ErrorCode::kIo, status.message()) : status;
  }
  if (file->size() > kMaxManifestBytes) {
    return Corrupt(path + ": has " + FormatBytes(file->size()) + ", expected at most 256 MiB");
  }
  std::string text(file->size(), '\0');
  NWC_RETURN_IF_ERROR(file->Read(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  auto manifest = ParseManifest(text);
  if (!manifest.ok()) return manifest.status().WithContext(path);
  return manifest;
}

std::vector<ManifestDifference> CompareManifests(const Manifest& expected, const Manifest& got) {
  std::vector<ManifestDifference> differences;
  CompareFiles(expected, got, &differences);
  std::unordered_map<std::string_view, const ManifestTensor*> found;
  for (const ManifestTensor& t : got.tensors) found.emplace(t.name, &t);
  for (const ManifestTensor& t : expected.tensors) {
    const auto it = found.find(t.name);
    if (it == found.end()) {
      differences.push_back({t.name, "", "presence", "a tensor", "none"});
      continue;
    }
    CompareTensor(t, *it->second, &differences);
    found.erase(it);
  }
  for (const ManifestTensor& t : got.tensors) {
    if (found.contains(t.name)) differences.push_back({t.name, "", "presence", "none", "a tensor"});
  }
  return differences;
}

std::string Describe(const ManifestDifference& d) {
  const std::string where = !d.tensor.empty() ? "tensor " + Quote(d.tensor)
                            : !d.file.empty() ? "file " + Quote(d.file)
                                              : std::string("the set");
  return where + ": " + d.what + " differs: expected " + d.expected + ", got " + d.got;
}

Status WriteManifest(const ManifestArguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  NWC_ASSIGN_OR_RETURN(const auto model, OpenModel(arguments.file, arguments.load));
  std::error_code error;
  if (std::filesystem::equivalent(arguments.file, arguments.output, error)) {
    return Status(ErrorCode::kUsage, arguments.output +
                                         ": is the container itself, expected "
                                         "another path; choose another -o");
  }
  NWC_ASSIGN_OR_RETURN(const auto output, AtomicFile::Create(arguments.output, arguments.force));
  Progress progress(arguments.quiet);
  const auto show = [&](const std::string& item, uint64_t done, uint64_t total) {
    progress.Update("hashing", item, done, total);
  };
  NWC_ASSIGN_OR_RETURN(const Manifest manifest, MakeManifest(*model, show));
  const std::string text = FormatManifest(manifest);
  NWC_RETURN_IF_ERROR(output->Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()}));
  NWC_RETURN_IF_ERROR(output->Commit({}));
  progress.EndLine();
  if (arguments.quiet) return {};
  const std::string what = manifest.files.size() == 1
                               ? "; SHA-256 of the file " + manifest.files[0].sha256
                               : " of " + std::to_string(manifest.files.size()) + " files";
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begun;
  return PrintOut(arguments.output + ": " + std::to_string(manifest.tensors.size()) + " tensors" +
                  what + "; " + FormatSeconds(seconds.count()) + "\n");
}

}  // namespace nwc
