// Files that appear whole or not at all: temporary beside the target, fsync, rename.
#pragma once

#include <string>

#include "format/writer.h"

namespace nwc {

class AtomicFile : public ByteSink {
 public:
  // Creates "<path>.tmp-<pid>" in the same folder. Without `overwrite` an existing path is kUsage
  // (checked now and again at Commit). Removes leftovers of dead processes for the same path.
  static Result<std::unique_ptr<AtomicFile>> Create(const std::string& path, bool overwrite);
  ~AtomicFile() override;  // removes the temporary when not committed

  Status Append(ByteSpan bytes) override;  // buffered; retries EINTR and short writes; ENOSPC is kIo with the path
  Status Commit(ByteSpan first_bytes) override;  // pwrite at 0, fsync file, rename, fsync folder

  // A signal handler may call this: unlinks every uncommitted temporary of the process.
  static void RemoveAllTemporaries();

 private:
  AtomicFile() = default;
  std::string path_, temporary_;
  int descriptor_ = -1;
  bool overwrite_ = false;
  std::vector<uint8_t> buffer_;
};

}  // namespace nwc
