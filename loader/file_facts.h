// What a file lies on and how much of it is in memory: what IoMode::kAuto goes by.
#pragma once

#include <cstdint>
#include <string>

namespace nwc {

enum class StorageKind : uint8_t {
  kDisk,     // a block device, also below overlayfs; what is not known
  kMemory,   // tmpfs and the like: there is nothing to wait for
  kNetwork,  // NFS, CIFS, 9p, FUSE and others where every read waits for another program
};

struct FileFacts {
  StorageKind storage = StorageKind::kDisk;
  std::string file_system;    // for messages
  double resident_share = 0;  // of some pages all over the file, 0 to 1
};

// By the number statfs gives. Pure.
StorageKind StorageKindOf(uint64_t file_system_magic);

// The kernel tells only those who own or may write a file which pages are resident; to others all
// pages look so. What cannot be found out is left as it is. Reads nothing of the file.
FileFacts LookAtFile(int descriptor, uint64_t size_bytes);

}  // namespace nwc
