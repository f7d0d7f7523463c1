#include "loader/shard_set.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <filesystem>
#include <new>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "loader/file_source.h"
#include "loader/http_source.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr size_t kNumberDigits = 5;
constexpr uint64_t kMaxSetIndexBytes = 1 << 28;

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }

// A path in three parts, so that files beside it can be named.
struct Place {
  std::string folder;  // with its slash, or empty
  std::string file;
  std::string query;  // of a URL, with what begins it

  [[nodiscard]] std::string Beside(std::string_view name) const {
    return folder + std::string(name) + query;
  }
};

// A file's name as it stands in a URL.
std::string PercentEncoded(const std::string& name) {
  constexpr std::string_view kPlain = "-._~!$&'()*+,;=:@";
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || kPlain.find(c) != std::string_view::npos) {
      text += c;
    } else {
      text += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return text;
}

Place PlaceOf(const std::string& path) {
  const size_t end =
      IsHttpUrl(path) ? std::min(path.find_first_of("?#"), path.size()) : path.size();
  const size_t slash = path.rfind('/', end == 0 ? 0 : end - 1);
  const size_t begin = slash == std::string::npos ? 0 : slash + 1;
  return {path.substr(0, begin), path.substr(begin, end - begin), path.substr(end)};
}

// "model" of "model.nwc" and of "model".
std::string StemOf(const std::string& file) {
  const bool ends = file.ends_with(kContainerEnding);
  return ends ? file.substr(0, file.size() - kContainerEnding.size()) : file;
}

std::optional<uint32_t> ParseNumber(std::string_view digits) {
  uint32_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::string FiveDigits(uint32_t number) {
  const std::string digits = std::to_string(number);
  return std::string(kNumberDigits - std::min(kNumberDigits, digits.size()), '0') + digits;
}

bool IsPlainName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxFileNameBytes && name != "." && name != ".." &&
         std::none_of(name.begin(), name.end(), [](char c) {
           return c == '/' || c == '\\' || c == '?' || c == '#' ||
                  static_cast<unsigned char>(c) < 0x20;
         });
}

const Json* Member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() ? nullptr : &*found;
}

std::string TextOf(const Json& object, const char* key) {
  const Json* value = Member(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : "";
}

std::optional<uint64_t> CountOf(const Json& object, const char* key) {
  const Json* value = Member(object, key);
  if (value == nullptr || !value->is_number_unsigned()) return std::nullopt;
  return value->get<uint64_t>();
}

Result<std::unique_ptr<ByteSource>> OpenSource(const std::string& path,
                                               const RemoteOptions& remote) {
  std::unique_ptr<ByteSource> source;
  if (IsHttpUrl(path)) {
    NWC_ASSIGN_OR_RETURN(source, HttpSource::Open(path, remote));
  } else {
    NWC_ASSIGN_OR_RETURN(source, FileSource::Open(path));
  }
  return source;
}

// The whole of a small file; nothing when it is not there.
Result<std::optional<std::string>> ReadSetIndex(const std::string& path,
                                                const RemoteOptions& remote) {
  const auto opened = OpenSource(path, remote);
  if (opened.status().code() == ErrorCode::kNotFound) return std::optional<std::string>();
  NWC_RETURN_IF_ERROR(opened.status());
  const ByteSource* source = opened->get();
  if (source->size() > kMaxSetIndexBytes) {
    return Corrupt(source->name() + ": has " + std::to_string(source->size()) +
                   " bytes, expected the index of a set, at most " +
                   std::to_string(kMaxSetIndexBytes));
  }
  std::string text(source->size(), '\0');
  NWC_RETURN_IF_ERROR(source->Read(0, {reinterpret_cast<uint8_t*>(text.data()), text.size()}));
  return std::optional(std::move(text));
}

Result<std::unique_ptr<Loader>> OpenShard(const std::string& path, size_t number, size_t count,
                                          const LoadOptions& options) {
  auto loader = Loader::Open(path, options);
  if (loader.ok() || loader.status().code() != ErrorCode::kNotFound) return loader;
  return Status(ErrorCode::kNotFound, PathForMessages(path) + ": shard " + std::to_string(number) +
                                          " of " + std::to_string(count) +
                                          " is missing, expected it beside the others; fetch or "
                                          "pack the set again");
}

// All of them, in order; the error of the first that does not open. A web server is asked for
// several at once, since each takes a while to answer.
Result<std::vector<std::unique_ptr<Loader>>> OpenShards(const std::vector<std::string>& paths,
                                                        const LoadOptions& options) {
  constexpr size_t kMostThreads = 8;
  std::vector<std::unique_ptr<Loader>> loaders(paths.size());
  std::vector<Status> failed(paths.size());
  std::atomic<size_t> next = 0;
  std::atomic<bool> stopped = false;
  const auto open = [&] {
    for (size_t i = next++; i < paths.size() && !stopped; i = next++) {
      try {
        auto loader = OpenShard(paths[i], i + 1, paths.size(), options);
        failed[i] = loader.status();
        if (loader.ok()) loaders[i] = std::move(*loader);
      } catch (const std::bad_alloc&) {  // which must not leave a thread
        failed[i] = Status(ErrorCode::kOutOfMemory, "no memory");
      }
      if (!failed[i].ok()) stopped = true;
    }
  };
  {
    std::vector<std::jthread> helpers;
    if (IsHttpUrl(paths[0])) {
      for (size_t t = 1; t < std::min(kMostThreads, paths.size()); ++t) helpers.emplace_back(open);
    }
    open();
  }
  for (Status& status : failed) NWC_RETURN_IF_ERROR(std::move(status));
  return loaders;
}

// Whether a shard is the one the index names.
Status CheckAgainst(const Loader& shard, const SetIndex::Shard& expected,
                    const std::string& index) {
  const Superblock& found = shard.superblock();
  const std::string advice = "; it is of another pack, or the index is old: fetch or pack again";
  if (found.file_size != expected.size) {
    return Corrupt(shard.path() + ": has " + std::to_string(found.file_size) + " bytes, " + index +
                   " says " + std::to_string(expected.size) + advice);
  }
  if (ToHex(found.root_hash) != expected.root_hash) {
    return Corrupt(shard.path() + ": root hash is " + ToHex(found.root_hash) + ", " + index +
                   " says " + expected.root_hash + advice);
  }
  return {};
}

// Whether index and shards agree on which tensor is where; the shards' names differ.
Status CheckTensors(const ShardSet& set, const SetIndex& index) {
  size_t found = 0;
  for (size_t s = 0; s < set.shards.size(); ++s) {
    for (const TensorInfo& t : set.shards[s]->index().tensors) {
      const auto entry = index.shard_of.find(t.name);
      if (entry == index.shard_of.end() || entry->second != s) {
        return Corrupt(
            set.name + ": tensor '" + t.name + "' is in " + set.shards[s]->path() +
            ", the index says " +
            (entry == index.shard_of.end() ? "nothing of it" : index.shards[entry->second].file));
      }
      ++found;
    }
  }
  if (found == index.shard_of.size()) return {};
  for (const auto& [name, s] : index.shard_of) {
    if (set.shards[s]->Find(name).ok()) continue;
    return Corrupt(set.name + ": tensor '" + name + "' is not in " + set.shards[s]->path() +
                   ", which the index names for it");
  }
  return {};
}

Result<ShardSet> OpenIndexed(const Place& place, const std::string& index_file,
                             const std::string& text, const LoadOptions& options) {
  ShardSet set;
  set.name = PathForMessages(place.Beside(index_file));
  const auto index = ParseSetIndex(text);
  if (!index.ok()) return index.status().WithContext(set.name);
  std::vector<std::string> paths;
  for (const SetIndex::Shard& shard : index->shards) {
    const bool url = IsHttpUrl(place.folder);
    paths.push_back(place.Beside(url ? PercentEncoded(shard.file) : shard.file));
  }
  NWC_ASSIGN_OR_RETURN(set.shards, OpenShards(paths, options));
  for (size_t s = 0; s < paths.size(); ++s) {
    NWC_RETURN_IF_ERROR(CheckAgainst(*set.shards[s], index->shards[s], set.name));
  }
  NWC_RETURN_IF_ERROR(CheckTensors(set, *index));
  set.index_text = text;
  return set;
}

std::string DescribeIdentity(const std::optional<ShardIdentity>& identity) {
  if (!identity) return "no shard of a set";
  return "shard " + std::to_string(identity->number) + " of " + std::to_string(identity->count) +
         " of set " + identity->set;
}

// Without an index: all shards by their names, held together by what they say of themselves.
Result<ShardSet> OpenByNames(const Place& place, const ShardName& named,
                             const LoadOptions& options) {
  ShardSet set;
  set.name = PathForMessages(place.Beside(place.file));
  NWC_ASSIGN_OR_RETURN(auto named_one, Loader::Open(place.Beside(place.file), options));
  const auto identity = ParseShardIdentity(named_one->index().options);
  if (!identity) {  // a container that is merely called so
    set.shards.push_back(std::move(named_one));
    return set;
  }
  std::vector<std::string> paths;
  for (uint32_t number = 1; number <= named.count; ++number) {
    paths.push_back(place.Beside(FormatShardName({named.stem, number, named.count})));
  }
  NWC_ASSIGN_OR_RETURN(set.shards, OpenShards(paths, options));
  for (size_t s = 0; s < paths.size(); ++s) {
    const Loader& shard = *set.shards[s];
    const ShardIdentity expected{identity->set, s + 1, named.count};
    const auto found = ParseShardIdentity(shard.index().options);
    if (found && *found == expected) continue;
    return Corrupt(shard.path() + ": is " + DescribeIdentity(found) + ", expected " +
                   DescribeIdentity(expected) + "; fetch or pack the set again");
  }
  return set;
}

Result<ShardSet> OpenNamedShard(const Place& place, const ShardName& named,
                                const LoadOptions& options) {
  const std::string index_file = named.stem + std::string(kSetIndexEnding);
  NWC_ASSIGN_OR_RETURN(const auto text, ReadSetIndex(place.Beside(index_file), options.remote));
  if (!text) return OpenByNames(place, named, options);
  NWC_ASSIGN_OR_RETURN(ShardSet set, OpenIndexed(place, index_file, *text, options));
  const std::string path = PathForMessages(place.Beside(place.file));
  const bool listed = std::any_of(set.shards.begin(), set.shards.end(),
                                  [&](const auto& shard) { return shard->path() == path; });
  if (listed) return set;
  return Corrupt(path + ": is no shard of " + set.name +
                 ", expected one that it lists; it is of an older pack: open the index");
}

// The file that stands for the one set in a folder.
Result<std::string> FindInFolder(const std::string& folder) {
  std::vector<std::string> stems;  // one a model
  std::string index, shard;
  std::error_code error;
  for (fs::directory_iterator i(folder, error), end; !error && i != end; i.increment(error)) {
    const std::string file = i->path().filename().string();
    if (file.ends_with(kSetIndexEnding)) {
      stems.push_back(file.substr(0, file.size() - kSetIndexEnding.size()));
      index = file;
    } else if (const auto name = ParseShardName(file)) {
      stems.push_back(name->stem);
      shard = file;
    } else if (file.ends_with(kContainerEnding)) {
      stems.push_back(file);  // by itself
    }
  }
  if (error) return Status(ErrorCode::kIo, folder + ": cannot be read: " + error.message());
  const std::string& found = index.empty() ? shard : index;
  if (found.empty()) {
    return Status(ErrorCode::kUsage,
                  folder + ": is a directory without a set of containers, expected an NWC file");
  }
  if (std::any_of(stems.begin(), stems.end(), [&](const auto& s) { return s != stems[0]; })) {
    return Status(ErrorCode::kUsage, folder + ": holds several models, expected one; name a file");
  }
  return (fs::path(folder) / found).string();
}

}  // namespace

std::optional<ShardName> ParseShardName(std::string_view file_name) {
  constexpr std::string_view kOf = "-of-";
  constexpr size_t kTail = 1 + kNumberDigits + kOf.size() + kNumberDigits;
  if (!file_name.ends_with(kContainerEnding)) return std::nullopt;
  file_name.remove_suffix(kContainerEnding.size());
  if (file_name.size() <= kTail) return std::nullopt;
  const std::string_view tail = file_name.substr(file_name.size() - kTail);
  if (tail[0] != '-' || tail.substr(1 + kNumberDigits, kOf.size()) != kOf) return std::nullopt;
  const auto number = ParseNumber(tail.substr(1, kNumberDigits));
  const auto count = ParseNumber(tail.substr(kTail - kNumberDigits));
  if (!number || !count || *number == 0 || *number > *count) return std::nullopt;
  return ShardName{std::string(file_name.substr(0, file_name.size() - kTail)), *number, *count};
}

std::string FormatShardName(const ShardName& name) {
  return name.stem + "-" + FiveDigits(name.number) + "-of-" + FiveDigits(name.count) +
         std::string(kContainerEnding);
}

std::optional<ShardIdentity> ParseShardIdentity(std::string_view options) {
  const Json json = Json::parse(options.begin(), options.end(), nullptr, false);
  const Json* shard = Member(json, "shard");
  if (shard == nullptr) return std::nullopt;
  const auto number = CountOf(*shard, "number"), count = CountOf(*shard, "count");
  ShardIdentity identity{TextOf(*shard, "set"), number.value_or(0), count.value_or(0)};
  if (identity.set.empty() || identity.number == 0 || identity.count == 0) return std::nullopt;
  return identity;
}

Result<SetIndex> ParseSetIndex(std::string_view json) {
  const Json parsed = Json::parse(json.begin(), json.end(), nullptr, false);
  if (parsed.is_discarded()) return Corrupt("is no JSON, expected the index of a set");
  const Json* shards = Member(parsed, "shards");
  const Json* map = Member(parsed, "weight_map");
  if (shards == nullptr || !shards->is_array() || shards->empty() || map == nullptr ||
      !map->is_object()) {
    return Corrupt("has no list 'shards' or no object 'weight_map', expected both");
  }
  SetIndex index;
  std::unordered_map<std::string, size_t> numbers;
  for (const Json& entry : *shards) {
    const auto size = CountOf(entry, "size");
    SetIndex::Shard shard{TextOf(entry, "file"), size.value_or(0), TextOf(entry, "root_hash")};
    if (!IsPlainName(shard.file) || !size || shard.root_hash.empty()) {
      return Corrupt("shard " + std::to_string(index.shards.size() + 1) +
                     " has no plain 'file', no 'size' or no 'root_hash', expected all three");
    }
    if (!numbers.emplace(shard.file, index.shards.size()).second) {
      return Corrupt("shard '" + shard.file + "' is there twice, expected once");
    }
    index.shards.push_back(std::move(shard));
  }
  for (const auto& [tensor, file] : map->items()) {
    const auto found = file.is_string() ? numbers.find(file.get<std::string>()) : numbers.end();
    if (found == numbers.end()) {
      return Corrupt("tensor '" + tensor + "' is in a file that is not among the shards");
    }
    index.shard_of.emplace(tensor, found->second);
  }
  return index;
}

Result<ShardSet> OpenShardSet(const std::string& path, const LoadOptions& options) {
  std::error_code error;
  if (!IsHttpUrl(path) && fs::is_directory(path, error)) {
    NWC_ASSIGN_OR_RETURN(const std::string file, FindInFolder(path));
    return OpenShardSet(file, options);
  }
  const Place place = PlaceOf(path);
  if (const auto named = ParseShardName(place.file)) return OpenNamedShard(place, *named, options);
  std::string index_file = place.file;
  Status missing(ErrorCode::kNotFound, PathForMessages(path) + ": no such file");
  if (!index_file.ends_with(kSetIndexEnding)) {
    auto loader = Loader::Open(path, options);
    if (loader.ok()) {
      ShardSet set;
      set.name = (*loader)->path();
      set.shards.push_back(std::move(*loader));
      return set;
    }
    missing = loader.status();
    if (missing.code() != ErrorCode::kNotFound) return missing;
    index_file = StemOf(place.file) + std::string(kSetIndexEnding);
  }
  NWC_ASSIGN_OR_RETURN(const auto text, ReadSetIndex(place.Beside(index_file), options.remote));
  if (!text) return missing;
  return OpenIndexed(place, index_file, *text, options);
}

}  // namespace nwc
