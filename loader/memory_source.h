// Bytes in memory, as a source.
#pragma once

#include <string>
#include <vector>

#include "loader/byte_source.h"

namespace nwc {

class MemorySource : public ByteSource {
 public:
  MemorySource(std::string name, std::vector<uint8_t> bytes)
      : name_(std::move(name)), bytes_(std::move(bytes)) {}

  [[nodiscard]] uint64_t size() const override { return bytes_.size(); }
  Status Read(uint64_t offset, MutableByteSpan destination) const override;
  [[nodiscard]] const std::string& name() const override { return name_; }

 private:
  std::string name_;
  std::vector<uint8_t> bytes_;
};

}  // namespace nwc
