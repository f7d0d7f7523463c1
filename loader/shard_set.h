// Sharded sets: containers that together hold one model, and the index file beside them
// (spec/format.md section 8). Finds a set's files and checks that they belong together.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "loader/loader.h"

namespace nwc {

inline constexpr std::string_view kContainerEnding = ".nwc";
inline constexpr std::string_view kSetIndexEnding = ".nwc.index.json";
inline constexpr uint32_t kMaxShards = 99999;

// A name of a shard: "<stem>-<number>-of-<count>.nwc", both of five digits; 1 <= number <= count.
struct ShardName {
  std::string stem;
  uint32_t number = 0, count = 0;
};
std::optional<ShardName> ParseShardName(std::string_view file_name);
std::string FormatShardName(const ShardName& name);

// What a shard says about itself, in the options of its index: of which set it is and where in it.
struct ShardIdentity {
  std::string set;
  uint64_t number = 0, count = 0;
  bool operator==(const ShardIdentity&) const = default;
};
// Nothing for options without an identity.
std::optional<ShardIdentity> ParseShardIdentity(std::string_view options);

// The index file of a set.
struct SetIndex {
  struct Shard {
    std::string file;       // beside the index, a plain name
    uint64_t size = 0;      // bytes
    std::string root_hash;  // hexadecimal
  };
  std::vector<Shard> shards;
  std::unordered_map<std::string, size_t> shard_of;  // by tensor name; valid positions in shards
};
// kCorrupt, without a path, when it is no such index. Pure.
Result<SetIndex> ParseSetIndex(std::string_view json);

// One container, or a set whose shards are all there and belong together.
struct ShardSet {
  std::string name;        // of the index, or of the container that was named; for messages
  std::string index_text;  // what the index holds; empty where there is none
  std::vector<std::unique_ptr<Loader>> shards;
};

// `path` is a file or a URL: the index of a set; one of its shards, which stands for the set; the
// output name given to nwc-pack, with or without ".nwc"; a container by itself; or, here only, a
// folder with one set and no other container. Every shard is opened with `options`. Errors name the
// file: a shard that is not there is kNotFound; one that has another size or root hash than the
// index says, or is of another set, is kCorrupt; several models in a folder are kUsage. A set
// without index opens if every shard is there and names the same set. May throw std::bad_alloc and
// std::system_error; ModelLoader::Open does not.
Result<ShardSet> OpenShardSet(const std::string& path, const LoadOptions& options);

}  // namespace nwc
