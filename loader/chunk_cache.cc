#include "loader/chunk_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <thread>

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPieceEnding = ".chunk";
constexpr const char* kTemporaryEnding = ".tmp";
constexpr auto kTemporaryLife = std::chrono::hours(1);  // its process died
constexpr int kLockTries = 100;
constexpr auto kLockPause = std::chrono::milliseconds(10);
constexpr uint64_t kSpareShare = 8;  // evict an eighth more than needed, not a piece a time

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int number() const { return number_; }
  [[nodiscard]] bool ok() const { return number_ >= 0; }

 private:
  int number_;
};

bool ReadAll(int descriptor, MutableByteSpan destination) {
  size_t done = 0;
  while (done < destination.size()) {
    const ssize_t got = pread(descriptor, destination.data() + done, destination.size() - done,
                              static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += static_cast<size_t>(got);
  }
  return true;
}

bool WriteAll(int descriptor, ByteSpan bytes) {
  while (!bytes.empty()) {
    const ssize_t put = write(descriptor, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return true;
}

// Waits for at most a second: a stopped process must not hold up a load.
bool Lock(int descriptor) {
  for (int i = 0; i < kLockTries; ++i) {
    if (flock(descriptor, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK && errno != EINTR) return false;
    std::this_thread::sleep_for(kLockPause);
  }
  return false;
}

int OpenNew(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

std::string TemporaryName(const std::string& folder) {
  static std::atomic<uint64_t> number = 0;
  return folder + "/" + std::to_string(getpid()) + "-" + std::to_string(number++) +
         kTemporaryEnding;
}

std::string LockPath(const std::string& folder) { return folder + "/lock"; }

int OpenLock(const std::string& folder) {
  return open(LockPath(folder).c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
}

Status CannotUse(const std::string& folder, int error) {
  return Status(ErrorCode::kIo,
                folder + ": cannot be used as a cache: " + std::generic_category().message(error));
}

void Append(const Extent* extent, std::vector<Extent>* pieces) {
  if (extent != nullptr && extent->size != 0) pieces->push_back(*extent);
}

}  // namespace

Result<std::unique_ptr<ChunkCache>> ChunkCache::Open(const std::string& folder,
                                                     uint64_t limit_bytes) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return CannotUse(folder, error.value());
  const Descriptor lock(OpenLock(folder));
  if (!lock.ok()) return CannotUse(folder, errno);
  return std::unique_ptr<ChunkCache>(new ChunkCache(folder, limit_bytes));
}

std::string ChunkCache::Path(const Hash128& root_hash, const Extent& extent) const {
  return folder_ + "/" + ToHex(root_hash) + "-" + std::to_string(extent.offset) + "-" +
         std::to_string(extent.size) + kPieceEnding;
}

bool ChunkCache::Get(const Hash128& root_hash, const Extent& extent,
                     MutableByteSpan destination) const {
  const std::string path = Path(root_hash, extent);
  // O_NONBLOCK: a pipe of that name must not hold up a load.
  const Descriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file.ok()) return false;
  struct stat facts {};
  const bool good = fstat(file.number(), &facts) == 0 && S_ISREG(facts.st_mode) &&
                    static_cast<uint64_t>(facts.st_size) == extent.size &&
                    ReadAll(file.number(), destination) && Hash64(destination) == extent.hash;
  if (!good) {
    unlink(path.c_str());
    return false;
  }
  (void)futimens(file.number(), nullptr);  // used now; where that fails it is evicted earlier
  return true;
}

void ChunkCache::Put(const Hash128& root_hash, const Extent& extent, ByteSpan bytes) {
  if (bytes.size() > limit_bytes_) return;
  const std::string temporary = TemporaryName(folder_);
  {
    const Descriptor file(OpenNew(temporary));
    if (!file.ok()) return;
    if (!WriteAll(file.number(), bytes)) {
      unlink(temporary.c_str());
      return;
    }
  }
  Publish(temporary, Path(root_hash, extent), bytes.size());
}

// The lock file holds the size of all pieces. It may say too much (pieces were removed), which an
// eviction mends, but not too little: it is raised before a piece appears.
void ChunkCache::Publish(const std::string& temporary, const std::string& path,
                         uint64_t size_bytes) {
  const std::lock_guard guard(publish_);
  const Descriptor lock(OpenLock(folder_));
  if (!lock.ok() || !Lock(lock.number()) || access(path.c_str(), F_OK) == 0) {
    unlink(temporary.c_str());
    return;
  }
  uint64_t total = 0;
  const bool known = pread(lock.number(), &total, sizeof total, 0) == sizeof total;
  if (!known || total > limit_bytes_ || size_bytes > limit_bytes_ - total) {
    const uint64_t most = limit_bytes_ - size_bytes;
    total = Evict(known ? most - most / kSpareShare : most);
    if (total > most) {
      unlink(temporary.c_str());
      return;
    }
  }
  total += size_bytes;
  if (pwrite(lock.number(), &total, sizeof total, 0) != sizeof total ||
      rename(temporary.c_str(), path.c_str()) != 0) {
    unlink(temporary.c_str());
  }
}

// Removes the pieces used longest ago until the others have at most `target_bytes`; returns the
// size of what is left. With the lock held; pieces may vanish meanwhile all the same.
uint64_t ChunkCache::Evict(uint64_t target_bytes) const {
  struct Piece {
    fs::file_time_type used;
    uint64_t size;
    fs::path path;
  };
  std::vector<Piece> pieces;
  uint64_t total = 0;
  std::error_code error;
  const auto now = fs::file_time_type::clock::now();
  fs::directory_iterator entry(folder_, error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const fs::path& path = entry->path();
    std::error_code gone;
    const auto used = entry->last_write_time(gone);
    const uint64_t size = entry->file_size(gone);
    if (gone) continue;
    if (path.extension() == kPieceEnding) {
      pieces.push_back({used, size, path});
      total += size;
    } else if (path.extension() == kTemporaryEnding && used < now - kTemporaryLife) {
      unlink(path.c_str());
    }
  }
  std::sort(pieces.begin(), pieces.end(),
            [](const Piece& a, const Piece& b) { return a.used < b.used; });
  for (const Piece& piece : pieces) {
    if (total <= target_bytes) break;
    if (unlink(piece.path.c_str()) == 0 || errno == ENOENT) total -= piece.size;
  }
  return total;
}

CachedSource::CachedSource(const ByteSource& source, std::unique_ptr<ChunkCache> cache,
                           const Superblock& superblock, const Index& index)
    : source_(source), cache_(std::move(cache)), superblock_(superblock) {
  for (const FileInfo& file : index.files) Append(&file.extent, &pieces_);
  for (const NeuralCodecInfo& codec : index.neural_codecs) Append(&codec.extent, &pieces_);
  for (const TensorInfo& tensor : index.tensors) {
    Append(tensor.side(), &pieces_);
    for (const Chunk& chunk : tensor.chunks) {
      const Extent extent{chunk.offset, chunk.size, chunk.hash};
      Append(&extent, &pieces_);
    }
  }
  std::sort(pieces_.begin(), pieces_.end(),
            [](const Extent& a, const Extent& b) { return a.offset < b.offset; });
}

ReadTraits CachedSource::traits() const {
  ReadTraits traits = source_.traits();
  traits.kind += ", cache in " + cache_->folder();
  return traits;
}

Status CachedSource::Read(uint64_t offset, MutableByteSpan destination) const {
  static const std::atomic<bool> kNever = false;
  return ReadUnlessStopped(offset, destination, kNever);
}

// Pieces that are here part the range into runs that are not; a run without a piece is padding.
Status CachedSource::ReadUnlessStopped(uint64_t offset, MutableByteSpan destination,
                                       const std::atomic<bool>& stop) const {
  const auto range_end = CheckedAdd(offset, destination.size());
  if (!range_end) return source_.Read(offset, destination);  // which says what is wrong
  const auto by_offset = [](const Extent& piece, uint64_t at) { return piece.offset < at; };
  auto piece = std::lower_bound(pieces_.begin(), pieces_.end(), offset, by_offset);
  // Whether the run, from run_begin on, has more in it than padding.
  bool wanted = offset < kSuperblockSize || *range_end > superblock_.index_offset ||
                (piece != pieces_.begin() && piece[-1].offset + piece[-1].size > offset);
  uint64_t run_begin = offset;
  auto run_piece = piece;
  const auto end_run = [&](uint64_t end) -> Status {
    const MutableByteSpan run = destination.subspan(run_begin - offset, end - run_begin);
    if (wanted) return FetchRun(run_begin, run, {run_piece, piece}, stop);
    std::fill(run.begin(), run.end(), uint8_t{0});
    return {};
  };
  for (; piece != pieces_.end() && piece->offset + piece->size <= *range_end; ++piece) {
    const auto bytes = destination.subspan(piece->offset - offset, piece->size);
    if (!cache_->Get(superblock_.root_hash, *piece, bytes)) {
      wanted = true;
      continue;
    }
    NWC_RETURN_IF_ERROR(end_run(piece->offset));
    run_begin = piece->offset + piece->size;
    run_piece = piece + 1;
    wanted = *range_end > superblock_.index_offset;
  }
  wanted = wanted || (piece != pieces_.end() && piece->offset < *range_end);
  return end_run(*range_end);
}

Status CachedSource::FetchRun(uint64_t begin, MutableByteSpan run, std::span<const Extent> pieces,
                              const std::atomic<bool>& stop) const {
  NWC_RETURN_IF_ERROR(source_.ReadUnlessStopped(begin, run, stop));
  for (const Extent& piece : pieces) {
    const ByteSpan bytes = run.subspan(piece.offset - begin, piece.size);
    if (Hash64(bytes) == piece.hash) cache_->Put(superblock_.root_hash, piece, bytes);
  }
  return {};
}

}  // namespace nwc
