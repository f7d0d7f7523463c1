#include "loader/file_facts.h"

#include <sys/mman.h>
#include <sys/vfs.h>

#include <algorithm>
#include <array>

#include "format/layout.h"

namespace nwc {
namespace {

constexpr uint64_t kSampledPages = 64;

struct FileSystem {
  uint64_t magic;
  const char* name;
  StorageKind storage;
};

// From linux/magic.h and the sources of file systems that are not in it.
constexpr FileSystem kFileSystems[] = {
    {0x01021994, "tmpfs", StorageKind::kMemory},
    {0x858458F6, "ramfs", StorageKind::kMemory},
    {0x958458F6, "hugetlbfs", StorageKind::kMemory},
    {0x6969, "NFS", StorageKind::kNetwork},
    {0x517B, "SMB", StorageKind::kNetwork},
    {0xFF534D42, "CIFS", StorageKind::kNetwork},
    {0xFE534D42, "SMB2", StorageKind::kNetwork},
    {0x65735546, "FUSE", StorageKind::kNetwork},
    {0x01021997, "9p", StorageKind::kNetwork},
    {0x00C36400, "Ceph", StorageKind::kNetwork},
    {0x5346414F, "AFS", StorageKind::kNetwork},
    {0x0BD00BD0, "Lustre", StorageKind::kNetwork},
    {0xEF53, "ext4", StorageKind::kDisk},
    {0x58465342, "XFS", StorageKind::kDisk},
    {0x9123683E, "btrfs", StorageKind::kDisk},
    {0xF2F52010, "F2FS", StorageKind::kDisk},
    {0x2FC12FC1, "ZFS", StorageKind::kDisk},
    {0x794C7630, "overlayfs", StorageKind::kDisk},
};

const FileSystem* FindFileSystem(uint64_t magic) {
  const auto* const found = std::find_if(std::begin(kFileSystems), std::end(kFileSystems),
                                         [&](const FileSystem& f) { return f.magic == magic; });
  return found == std::end(kFileSystems) ? nullptr : found;
}

double ResidentShare(int descriptor, uint64_t size_bytes) {
  if (size_bytes == 0) return 0;
  void* const address = mmap(nullptr, size_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
  if (address == MAP_FAILED) return 0;
  const uint64_t pages = (size_bytes - 1) / kPageBytes + 1;
  const uint64_t samples = std::min(pages, kSampledPages);
  uint64_t resident = 0;
  for (uint64_t i = 0; i < samples; ++i) {
    const uint64_t page = i * (pages / samples) + i * (pages % samples) / samples;
    unsigned char flags = 0;
    if (mincore(static_cast<uint8_t*>(address) + page * kPageBytes, 1, &flags) == 0) {
      resident += flags & 1;
    }
  }
  munmap(address, size_bytes);
  return static_cast<double>(resident) / static_cast<double>(samples);
}

}  // namespace

StorageKind StorageKindOf(uint64_t file_system_magic) {
  const FileSystem* const known = FindFileSystem(file_system_magic);
  return known == nullptr ? StorageKind::kDisk : known->storage;
}

FileFacts LookAtFile(int descriptor, uint64_t size_bytes) {
  FileFacts facts;
  facts.file_system = "unknown file system";
  struct statfs found {};
  if (fstatfs(descriptor, &found) == 0) {
    // 32 bits count; some are stored with a sign.
    const auto magic = static_cast<uint32_t>(found.f_type);
    facts.storage = StorageKindOf(magic);
    if (const FileSystem* known = FindFileSystem(magic)) facts.file_system = known->name;
  }
  facts.resident_share = ResidentShare(descriptor, size_bytes);
  return facts;
}

}  // namespace nwc
