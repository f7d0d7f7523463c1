// Files that appear whole or not at all: temporary beside the target, fsync, rename.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "format/writer.h"

namespace nwc {

class AtomicFile : public ByteSink {
 public:
  // Creates "<path>.tmp-<pid>" in the same folder. Without `overwrite` an existing path is kUsage
  // (checked now and again at Commit). Never replaces anything but a regular file. Removes
  // leftovers of dead processes for the same path.
  static Result<std::unique_ptr<AtomicFile>> Create(const std::string& path, bool overwrite);
  ~AtomicFile() override;  // removes the temporary when not committed
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Buffered; retries EINTR and short writes. A full disk is kIo with the path. After an error the
  // file can only be destroyed.
  Status Append(ByteSpan bytes) override;
  // Replaces the first bytes (not more than were appended), then fsync of the file, rename, fsync
  // of the folder.
  Status Commit(ByteSpan first_bytes) override;

  // A signal handler may call this: unlinks every uncommitted temporary of the process.
  static void RemoveAllTemporaries();

 private:
  AtomicFile() = default;
  Status CreateTemporary();
  Status WriteAt(uint64_t offset, ByteSpan bytes);
  Status Flush();
  Status CloseDurably();

  std::string path_, temporary_;
  int descriptor_ = -1;
  int slot_ = -1;  // in the registry of temporaries
  bool overwrite_ = false;
  uint64_t flushed_ = 0;  // bytes written to the file
  std::vector<uint8_t> buffer_;
};

// The checks of Create alone: nothing but a regular file is at `path` (nothing at all without
// `overwrite`), and its folder exists. For refusing before long work.
Status CheckOutputPath(const std::string& path, bool overwrite);

// The last step of Commit alone, for a finished file in the same folder: rename, fsync of the
// folder.
Status PublishFile(const std::string& temporary, const std::string& path, bool overwrite);

// fsync of the folder that `path` is in.
Status SyncFolderOf(const std::string& path);

}  // namespace nwc
