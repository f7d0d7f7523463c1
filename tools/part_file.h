// A container that is being copied, under a name of its own until every byte of it is right. Until
// then it begins with another magic number, so that no reader takes it for a container (R1).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "loader/descriptor.h"
#include "loader/loader.h"
#include "tools/container_check.h"

namespace nwc {

class PartFile {
 public:
  // The file at `path`, of the size of `original` and with its superblock and index in place. What
  // an earlier copy left there is kept where it is of the same container, else thrown away. kUsage
  // while another process writes it; kIo also when the disk has no room for all of it.
  static Result<std::unique_ptr<PartFile>> Open(const std::string& path, const Loader& original);

  // Whether payload of an earlier copy may be here.
  [[nodiscard]] bool resumed() const { return resumed_; }
  // Whether what an earlier copy left was of another container.
  [[nodiscard]] bool replaced() const { return replaced_; }
  // Of the original, read by Open.
  [[nodiscard]] uint64_t index_bytes_read() const { return index_bytes_read_; }

  // From many threads at once.
  Status Write(uint64_t offset, ByteSpan bytes) const;
  // Reads everything back: as CheckContainer.
  Result<CheckReport> Check(const CheckSettings& settings) const;
  // Makes it a container, on the disk. The file keeps its name.
  Status Complete() const;

 private:
  explicit PartFile(std::string path) : path_(std::move(path)) {}
  Status OpenLocked();
  Status Resume(ByteSpan superblock, uint64_t size);
  Status Begin(ByteSpan superblock, const Loader& original);
  Result<std::unique_ptr<Loader>> OpenLoader() const;
  Status Sync() const;

  std::string path_;
  Descriptor descriptor_;
  bool resumed_ = false, replaced_ = false;
  uint64_t index_bytes_read_ = 0;
};

}  // namespace nwc
