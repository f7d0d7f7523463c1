// The folder of nwc-pack --work: finished parts of one pack, kept until it is done.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "encoder/encoder.h"

namespace nwc {

// `store`, which must outlive it, with keys that begin with `prefix`.
PackStore Prefixed(const PackStore& store, const std::string& prefix);

class WorkFolder {
 public:
  // Creates the folder or goes on with what is there. `settings` says what the parts depend on;
  // when the folder was begun with others it is kUsage, naming the first that differs, or with
  // `force` begun afresh. A folder with other files in it is never taken.
  static Result<std::unique_ptr<WorkFolder>> Open(
      const std::string& path, const std::map<std::string, std::string>& settings, bool force);

  // For PackOptions; valid while the folder is. Parts appear whole or not at all.
  [[nodiscard]] const PackStore& store() const { return store_; }
  // Where statistics are kept, whether there are any yet or not.
  [[nodiscard]] std::string StatisticsPath() const;

  // Removes the parts and the folder: the pack is done.
  Status Remove();

 private:
  explicit WorkFolder(std::string path);
  std::string path_;
  PackStore store_;
};

}  // namespace nwc
