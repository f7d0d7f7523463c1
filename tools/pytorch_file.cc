#include "tools/pytorch_file.h"

#include <string_view>
#include <unordered_map>
#include <utility>

#include "tools/display.h"
#include "tools/pytorch_pickle.h"
#include "tools/zip_archive.h"

namespace nwc {
namespace {

constexpr std::string_view kPickleName = "/data.pkl";
constexpr uint64_t kMaxByteOrder = 16;  // bytes

using Entries = std::unordered_map<std::string_view, const ZipEntry*>;

Result<Entries> ByName(const std::vector<ZipEntry>& entries) {
  Entries by_name;
  for (const ZipEntry& e : entries) {
    if (by_name.emplace(e.name, &e).second) continue;
    return Status(ErrorCode::kCorrupt, "entry " + Quote(e.name) + " is there twice");
  }
  return by_name;
}

// The folder inside the zip file that everything lies in.
Result<std::string> FindFolder(const std::vector<ZipEntry>& entries) {
  for (const ZipEntry& e : entries) {
    const std::string_view name = e.name;
    if (name.find('/') + kPickleName.size() != name.size() || !name.ends_with(kPickleName)) {
      continue;
    }
    return std::string(name.substr(0, name.size() - kPickleName.size()));
  }
  return Status(ErrorCode::kUnsupported,
                "is a zip file without data.pkl, expected one of torch.save");
}

Status CheckByteOrder(const ReadAt& read, const Entries& entries, const std::string& folder) {
  const auto found = entries.find(folder + "/byteorder");
  if (found == entries.end()) return {};  // before PyTorch 2.1
  NWC_ASSIGN_OR_RETURN(const auto text, ReadZipEntry(read, *found->second, kMaxByteOrder));
  if (std::string(text.begin(), text.end()) == "little") return {};
  return Status(ErrorCode::kUnsupported,
                "was saved on a big-endian machine, expected little-endian numbers; load and save "
                "it again on this machine");
}

Result<StoredTensor> Locate(PickledTensor pickled, const Entries& entries,
                            const std::string& folder) {
  const std::string key = folder + "/data/" + pickled.storage;
  const auto fail = [&](const std::string& what) {
    return Status(ErrorCode::kCorrupt, "tensor " + Quote(pickled.name) + ": its storage " +
                                           Quote(key) + what + ": the file is damaged");
  };
  const auto found = entries.find(key);
  if (found == entries.end()) return fail(" is missing");
  const ZipEntry& entry = *found->second;
  if (entry.end - entry.begin != pickled.storage_bytes) {
    return fail(" has " + std::to_string(entry.end - entry.begin) + " bytes, expected " +
                std::to_string(pickled.storage_bytes));
  }
  StoredTensor tensor;
  tensor.name = std::move(pickled.name);
  tensor.dtype = pickled.dtype;
  tensor.shape = std::move(pickled.shape);
  tensor.strides = std::move(pickled.strides);
  tensor.begin = entry.begin + pickled.begin;
  tensor.end = entry.begin + pickled.end;
  // The checksum is that of the whole storage.
  if (tensor.begin == entry.begin && tensor.end == entry.end) tensor.crc32 = entry.crc32;
  return tensor;
}

}  // namespace

Result<std::vector<StoredTensor>> ReadPyTorchFile(const ReadAt& read, uint64_t file_size) {
  NWC_ASSIGN_OR_RETURN(const std::vector<ZipEntry> entries, ReadZipDirectory(read, file_size));
  NWC_ASSIGN_OR_RETURN(const Entries by_name, ByName(entries));
  NWC_ASSIGN_OR_RETURN(const std::string folder, FindFolder(entries));
  NWC_RETURN_IF_ERROR(CheckByteOrder(read, by_name, folder));
  const ZipEntry& pickle = *by_name.at(folder + std::string(kPickleName));
  NWC_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, ReadZipEntry(read, pickle, kMaxPickle));
  auto pickled = ParseStateDict(bytes);
  if (!pickled.ok()) return pickled.status().WithContext("data.pkl");
  std::vector<StoredTensor> tensors;
  for (PickledTensor& t : *pickled) {
    NWC_ASSIGN_OR_RETURN(StoredTensor tensor, Locate(std::move(t), by_name, folder));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace nwc
