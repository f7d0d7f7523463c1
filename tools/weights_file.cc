#include "tools/weights_file.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

#include "tools/gguf.h"
#include "tools/pytorch_file.h"
#include "tools/safetensors.h"
#include "tools/shard_index.h"

namespace nwc {
namespace {

constexpr std::string_view kSafetensorsEnding = ".safetensors";
constexpr std::array<std::string_view, 4> kPyTorchEndings = {".bin", ".pt", ".pth", ".ckpt"};
constexpr std::string_view kPyTorchStem = "pytorch_model";
constexpr uint32_t kZipMagic = 0x04034B50;  // "PK\3\4"
constexpr uint64_t kFirstBytes = 8;

enum class Format { kSafetensors, kPyTorch, kOldPyTorch, kGguf };

bool IsPyTorchName(std::string_view name) {
  return std::any_of(kPyTorchEndings.begin(), kPyTorchEndings.end(),
                     [&](std::string_view ending) { return name.ends_with(ending); });
}

// `first` is the beginning of a file. The marks of zip and GGUF files are no lengths that a
// safetensors header may have.
Format Recognize(ByteSpan first, std::string_view name) {
  if (first.size() >= kFirstBytes) {
    if (LoadLittle<uint32_t>(first.data()) == kGgufMagic) return Format::kGguf;
    const bool header = LoadLittle<uint64_t>(first.data()) <= kMaxSafetensorsHeader;
    if (!header && LoadLittle<uint32_t>(first.data()) == kZipMagic) return Format::kPyTorch;
    if (header) return Format::kSafetensors;
  }
  if (IsPyTorchName(name)) return Format::kOldPyTorch;
  return name.ends_with(".gguf") ? Format::kGguf : Format::kSafetensors;
}

ReadAt Reader(const InputFile& file) {
  return [&file](uint64_t offset, MutableByteSpan out) { return file.Read(offset, out); };
}

Status ReadSafetensors(const InputFile& file, WeightsFile* weights) {
  std::vector<uint8_t> bytes(std::min<uint64_t>(file.size(), kFirstBytes));
  NWC_RETURN_IF_ERROR(file.Read(0, bytes));
  NWC_ASSIGN_OR_RETURN(const uint64_t end, SafetensorsHeaderEnd(bytes, file.size()));
  bytes.resize(end);
  NWC_RETURN_IF_ERROR(file.Read(0, bytes));
  NWC_ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensorsHeader(bytes, file.size()));
  for (SafetensorsEntry& e : header.entries) {
    weights->tensors.push_back(
        {std::move(e.name), e.dtype, std::move(e.shape), e.begin, e.end, {}, {}});
  }
  weights->shard.metadata = std::move(header.metadata);
  return {};
}

Status ReadTensors(Format format, WeightsFile* weights) {
  const InputFile& file = weights->file;
  switch (format) {
    case Format::kSafetensors:
      return ReadSafetensors(file, weights);
    case Format::kOldPyTorch:
      return Status(ErrorCode::kUnsupported,
                    std::string("is no zip file as torch.save has written since PyTorch 1.6; ") +
                        kConvertPyTorch);
    case Format::kPyTorch: {
      NWC_ASSIGN_OR_RETURN(weights->tensors, ReadPyTorchFile(Reader(file), file.size()));
      weights->shard.metadata = R"({"format":"pt"})";
      return {};
    }
    case Format::kGguf: {
      NWC_ASSIGN_OR_RETURN(GgufHeader header, ReadGgufHeader(Reader(file), file.size()));
      weights->tensors = std::move(header.tensors);
      weights->gguf = true;
      return {};
    }
  }
  return Status(ErrorCode::kInternal, "format is out of range");
}

std::string ShardName(const std::string& file_name, Format format) {
  if (format == Format::kSafetensors) return file_name;
  std::string stem = file_name;
  if (IsPyTorchName(stem) || stem.ends_with(".gguf")) stem.resize(stem.rfind('.'));
  if (stem.starts_with(kPyTorchStem)) stem.erase(0, std::string_view("pytorch_").size());
  return stem + std::string(kSafetensorsEnding);
}

// System errors name the file already.
Status AboutFile(const Status& status, const std::string& path) {
  return status.ok() || status.message().starts_with(path) ? status : status.WithContext(path);
}

}  // namespace

std::string ShardStem(const std::string& shard_name) {
  const bool ends =
      shard_name.ends_with(kSafetensorsEnding) && shard_name.size() > kSafetensorsEnding.size();
  return shard_name.substr(0, shard_name.size() - (ends ? kSafetensorsEnding.size() : 0));
}

Result<WeightsFile> OpenWeightsFile(const std::string& path) {
  const std::string name = std::filesystem::path(path).filename().string();
  NWC_ASSIGN_OR_RETURN(InputFile file, InputFile::Open(path));
  std::vector<uint8_t> first(std::min<uint64_t>(file.size(), kFirstBytes));
  NWC_RETURN_IF_ERROR(file.Read(0, first));
  const Format format = Recognize(first, name);
  WeightsFile weights{std::move(file), {ShardName(name, format), ""}, {}, false};
  if (const Status s = CheckFileName(weights.shard.name); !s.ok()) return s.WithContext(path);
  NWC_RETURN_IF_ERROR(AboutFile(ReadTensors(format, &weights), path));
  return weights;
}

Result<SourceFile> ReadGgufHeaderFile(const WeightsFile& weights) {
  const ReadAt read = Reader(weights.file);
  const std::string& path = weights.file.path();
  GgufHeader header;
  header.tensors = weights.tensors;
  auto content = ReadGgufRest(read, header, weights.file.size());
  if (!content.ok()) return AboutFile(content.status(), path);
  return SourceFile{ShardStem(weights.shard.name) + kGgufHeaderEnding, std::move(*content)};
}

}  // namespace nwc
