// A folder of pieces of remote files, shared by processes. Each piece is a file of its own that
// appears whole; whoever reads one checks its hash, so a damaged piece is fetched again and never
// an error. The folder's files are trusted no more than their hashes: keep others from writing
// there.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "format/checksum.h"
#include "format/index.h"
#include "loader/byte_source.h"

namespace nwc {

// Thread-safe.
class ChunkCache {
 public:
  // Makes the folder where it is missing. kIo when it cannot be written to.
  static Result<std::unique_ptr<ChunkCache>> Open(const std::string& folder, uint64_t limit_bytes);

  // The piece at `extent` of the file with that root hash; true when it is here and its hash is
  // right. On false the destination, of extent.size bytes, is unspecified.
  bool Get(const Hash128& root_hash, const Extent& extent, MutableByteSpan destination) const;
  // Keeps bytes whose hash was checked. The pieces used longest ago go while all together would
  // exceed the limit. Does nothing when it cannot be done.
  void Put(const Hash128& root_hash, const Extent& extent, ByteSpan bytes);

  [[nodiscard]] const std::string& folder() const { return folder_; }

 private:
  ChunkCache(std::string folder, uint64_t limit_bytes)
      : folder_(std::move(folder)), limit_bytes_(limit_bytes) {}

  [[nodiscard]] std::string Path(const Hash128& root_hash, const Extent& extent) const;
  void Publish(const std::string& temporary, const std::string& path, uint64_t size_bytes);
  [[nodiscard]] uint64_t Evict(uint64_t target_bytes) const;

  std::string folder_;
  uint64_t limit_bytes_;
  std::mutex publish_;  // one waits for the other processes at a time
};

// A source whose hashed ranges (chunks, side information, neural codecs, files) come from a cache
// where they are there. Other bytes come from the source; padding between two cached pieces reads
// as the zeros that it should be (R31).
class CachedSource : public ByteSource {
 public:
  // `source` outlives it and holds the container with this superblock and index.
  CachedSource(const ByteSource& source, std::unique_ptr<ChunkCache> cache,
               const Superblock& superblock, const Index& index);

  [[nodiscard]] uint64_t size() const override { return source_.size(); }
  Status Read(uint64_t offset, MutableByteSpan destination) const override;
  Status ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                           const std::atomic<bool>& stop) const override;
  [[nodiscard]] ReadTraits traits() const override;
  [[nodiscard]] const std::string& name() const override { return source_.name(); }

 private:
  Status FetchRun(uint64_t begin, MutableByteSpan run, std::span<const Extent> pieces,
                  const std::atomic<bool>& stop) const;

  const ByteSource& source_;
  std::unique_ptr<ChunkCache> cache_;
  Superblock superblock_;
  std::vector<Extent> pieces_;  // by offset; they do not overlap
};

}  // namespace nwc
