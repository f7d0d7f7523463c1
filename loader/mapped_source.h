// A file read through a mapping.
//
// Touching a page of a mapping beyond the end of a file that was truncated raises SIGBUS, which a
// library cannot handle for its program. So nothing here touches the mapping: the kernel copies out
// of it (process_vm_readv on this very process) and answers EFAULT instead. It also says how much
// it copied. Bytes behind the new end inside its last page read as zeros; the size is therefore
// asked for after each copy, and a file that does not reach so far any more is an error.
#pragma once

#include <memory>
#include <string>

#include "loader/byte_source.h"

namespace nwc {

class MappedSource : public ByteSource {
 public:
  // Maps all of `file`, which has a descriptor and outlives it. kIo with the system's reason alone
  // when it cannot be mapped or the kernel does not let us copy.
  static Result<std::unique_ptr<MappedSource>> Map(const ByteSource& file);
  ~MappedSource() override;
  MappedSource(const MappedSource&) = delete;
  MappedSource& operator=(const MappedSource&) = delete;

  [[nodiscard]] uint64_t size() const override { return size_; }
  // Pages are asked for ahead of the copy and unmapped after it, so that they do not count as this
  // process's memory; they stay in the page cache.
  Status Read(uint64_t offset, MutableByteSpan destination) const override;
  [[nodiscard]] ReadTraits traits() const override;
  [[nodiscard]] const std::string& name() const override { return file_.name(); }

 private:
  MappedSource(const ByteSource& file, uint8_t* address)
      : file_(file), address_(address), size_(file.size()) {}
  void Advise(uint64_t offset, uint64_t size_bytes, int advice) const;
  [[nodiscard]] Status CheckEnd(uint64_t end) const;

  const ByteSource& file_;
  uint8_t* address_;  // null for an empty file
  uint64_t size_;
};

}  // namespace nwc
