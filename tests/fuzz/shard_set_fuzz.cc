// What says that containers belong together: the index of a set, a shard's options and its name.
// What is parsed must be consistent, and names that are read back must be the same.
#include <cstdlib>
#include <string_view>

#include "loader/shard_set.h"

namespace nwc {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

void CheckIndex(const SetIndex& index) {
  Check(!index.shards.empty());
  for (const SetIndex::Shard& shard : index.shards) {
    Check(!shard.file.empty() && shard.file.find('/') == std::string::npos);
    Check(shard.file != "." && shard.file != "..");
    Check(!shard.root_hash.empty());
  }
  for (const auto& [tensor, shard] : index.shard_of) Check(shard < index.shards.size());
}

void CheckName(std::string_view text) {
  const auto name = ParseShardName(text);
  if (!name) return;
  Check(name->number >= 1 && name->number <= name->count && name->count <= kMaxShards);
  Check(FormatShardName(*name) == text);
}

}  // namespace
}  // namespace nwc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto index = ParseSetIndex(text); index.ok()) CheckIndex(*index);
  if (const auto identity = ParseShardIdentity(text)) {
    Check(!identity->set.empty() && identity->number >= 1 && identity->count >= 1);
  }
  CheckName(text);
  return 0;
}
