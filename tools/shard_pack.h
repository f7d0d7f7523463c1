// Splits a finished container into the shards of a set (spec/format.md section 8).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "format/format.h"

namespace nwc {

// Which tensors go into which shard, in file order: as many as fit into `shard_bytes` with all that
// a file has besides, by an upper bound. The first shard also holds the metadata files. A shard
// that holds more than `shard_bytes` holds one tensor alone, or the files alone. Pure.
std::vector<std::vector<size_t>> PlanShards(const Index& index, uint64_t shard_bytes);

// The paths of a set for the output "DIR/model.nwc": "DIR/model.nwc.index.json", and of a shard.
std::string SetIndexPath(const std::string& output);
std::string ShardPath(const std::string& output, size_t number, size_t count);

// Refuses an output that is not "<stem>.nwc" (kUsage) and, without `overwrite`, one of whose set
// any file is there.
Status CheckSetOutput(const std::string& output, bool overwrite);

struct WrittenSet {
  std::string index;               // path
  std::vector<std::string> files;  // names of the shards
  uint64_t bytes = 0;              // of all shards
};

// Writes the shards of container `whole` into the folder `parts`, on the same disk as `output`;
// when all are there, gives them their names, the index last, and removes shards of an older set of
// the same name. Until then nothing of an older set is touched; a process that is killed in between
// leaves what does not open. Equal containers give equal bytes.
Result<WrittenSet> WriteShards(const std::string& whole, const std::string& parts,
                               const std::string& output, uint64_t shard_bytes, bool overwrite);

}  // namespace nwc
