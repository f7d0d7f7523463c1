// A zip file ends with its directory (APPNOTE.TXT of PKWARE, 4.3.6; numbers are little-endian):
//   for each entry: local header (30 bytes, name, extra), content     [4.3.7]
//   for each entry: directory header (46 bytes, name, extra, comment) [4.3.12]
//   ZIP64 end record (56 bytes), ZIP64 locator (20 bytes)             [4.3.14, 4.3.15], maybe
//   end record (22 bytes, comment)                                    [4.3.16]
#include "tools/zip_archive.h"

#include <algorithm>
#include <string_view>

#include "tools/crc32.h"
#include "tools/display.h"

namespace nwc {
namespace {

constexpr uint32_t kLocalMark = 0x04034B50, kDirectoryMark = 0x02014B50;
constexpr uint32_t kEndMark = 0x06054B50, kEnd64Mark = 0x06064B50, kLocatorMark = 0x07064B50;
constexpr uint64_t kLocalBytes = 30, kDirectoryBytes = 46, kEndBytes = 22;
constexpr uint64_t kEnd64Bytes = 56, kLocatorBytes = 20;
constexpr uint64_t kMaxComment = 65535;
constexpr uint64_t kMaxDirectory = 64ull << 20;  // bytes
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kEncrypted = 1;

struct Directory {
  uint64_t begin = 0, size = 0, entries = 0;
};

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }

Status CutShort(const std::string& what) {
  return Corrupt(what + ": the file is damaged or cut short; download it again");
}

// Looks for the end record backwards: a comment of any length may follow it.
Result<uint64_t> FindEnd(ByteSpan tail) {
  for (uint64_t at = tail.size() < kEndBytes ? 0 : tail.size() - kEndBytes + 1; at-- > 0;) {
    if (LoadLittle<uint32_t>(&tail[at]) != kEndMark) continue;
    if (LoadLittle<uint16_t>(&tail[at + 20]) == tail.size() - at - kEndBytes) return at;
  }
  return CutShort("holds no end of a zip directory");
}

Result<Directory> ReadEnd64(const ReadAt& read, ByteSpan locator, uint64_t end) {
  const auto at = LoadLittle<uint64_t>(&locator[8]);
  std::vector<uint8_t> record(kEnd64Bytes);
  if (at > end || end - at < kEnd64Bytes + kLocatorBytes) {
    return CutShort("the end of the zip directory lies outside the file");
  }
  NWC_RETURN_IF_ERROR(read(at, record));
  if (LoadLittle<uint32_t>(record.data()) != kEnd64Mark) {
    return CutShort("the end of the zip directory is not where it should be");
  }
  return Directory{LoadLittle<uint64_t>(&record[48]), LoadLittle<uint64_t>(&record[40]),
                   LoadLittle<uint64_t>(&record[32])};
}

Result<Directory> FindDirectory(const ReadAt& read, uint64_t file_size) {
  const uint64_t tail_begin =
      file_size - std::min(file_size, kLocatorBytes + kEndBytes + kMaxComment);
  std::vector<uint8_t> tail(file_size - tail_begin);
  NWC_RETURN_IF_ERROR(read(tail_begin, tail));
  NWC_ASSIGN_OR_RETURN(const uint64_t at, FindEnd(tail));
  if (LoadLittle<uint16_t>(&tail[at + 4]) != 0 || LoadLittle<uint16_t>(&tail[at + 6]) != 0) {
    return Status(ErrorCode::kUnsupported, "is a zip file in several parts, expected one");
  }
  Directory directory{LoadLittle<uint32_t>(&tail[at + 16]), LoadLittle<uint32_t>(&tail[at + 12]),
                      LoadLittle<uint16_t>(&tail[at + 10])};
  const uint64_t end = tail_begin + at;
  if (at >= kLocatorBytes && LoadLittle<uint32_t>(&tail[at - kLocatorBytes]) == kLocatorMark) {
    const ByteSpan locator(&tail[at - kLocatorBytes], kLocatorBytes);
    NWC_ASSIGN_OR_RETURN(directory, ReadEnd64(read, locator, end));
  }
  if (directory.begin > end || directory.size > end - directory.begin) {
    return CutShort("the zip directory lies outside the file");
  }
  if (directory.size > kMaxDirectory) {
    return Status(ErrorCode::kUnsupported, "the zip directory has " + FormatBytes(directory.size) +
                                               ", expected at most 64 MiB");
  }
  if (directory.entries > directory.size / kDirectoryBytes) {
    return Corrupt("the zip directory names " + std::to_string(directory.entries) +
                   " entries, more than it has room for");
  }
  return directory;
}

// An entry of the directory; `offset` is where its local header lies.
struct DirectoryEntry {
  ZipEntry entry;
  uint64_t offset = 0, size = 0;
};

// The ZIP64 extra field holds, in this order, those of the numbers that are all ones elsewhere.
Status ReadZip64Extra(ByteSpan extra, uint64_t* size, uint64_t* packed_size, uint64_t* offset) {
  while (extra.size() >= 4) {
    const auto kind = LoadLittle<uint16_t>(extra.data());
    const auto length = LoadLittle<uint16_t>(&extra[2]);
    if (length > extra.size() - 4) break;
    ByteSpan field = extra.subspan(4, length);
    extra = extra.subspan(4u + length);
    if (kind != kZip64Extra) continue;
    for (uint64_t* number : {size, packed_size, offset}) {
      if (*number != UINT32_MAX) continue;
      if (field.size() < 8) return Corrupt("its ZIP64 field is too short");
      *number = LoadLittle<uint64_t>(field.data());
      field = field.subspan(8);
    }
    return {};
  }
  return {};
}

// Takes the entry that `rest` begins with.
Result<DirectoryEntry> TakeEntry(ByteSpan* rest) {
  const ByteSpan bytes = *rest;
  if (bytes.size() < kDirectoryBytes || LoadLittle<uint32_t>(bytes.data()) != kDirectoryMark) {
    return CutShort("an entry of the zip directory is broken");
  }
  const size_t name_bytes = LoadLittle<uint16_t>(&bytes[28]);
  const size_t extra_bytes = LoadLittle<uint16_t>(&bytes[30]);
  const size_t all = kDirectoryBytes + name_bytes + extra_bytes + LoadLittle<uint16_t>(&bytes[32]);
  if (all > bytes.size()) return CutShort("an entry of the zip directory is broken");
  DirectoryEntry found;
  found.entry.name.assign(reinterpret_cast<const char*>(bytes.data()) + kDirectoryBytes,
                          name_bytes);
  const auto fail = [&](ErrorCode code, const std::string& what) {
    return Status(code, "entry " + Quote(found.entry.name) + ": " + what);
  };
  if ((LoadLittle<uint16_t>(&bytes[8]) & kEncrypted) != 0 ||
      LoadLittle<uint16_t>(&bytes[10]) != 0) {
    return fail(ErrorCode::kUnsupported,
                "is compressed or encrypted, expected it stored as torch.save does; load and save "
                "the file again");
  }
  uint64_t packed_size = LoadLittle<uint32_t>(&bytes[20]);
  found.size = LoadLittle<uint32_t>(&bytes[24]);
  found.offset = LoadLittle<uint32_t>(&bytes[42]);
  const Status extra = ReadZip64Extra(bytes.subspan(kDirectoryBytes + name_bytes, extra_bytes),
                                      &found.size, &packed_size, &found.offset);
  if (!extra.ok()) return fail(extra.code(), extra.message());
  if (packed_size != found.size) return fail(ErrorCode::kCorrupt, "has two different sizes");
  const auto crc = LoadLittle<uint32_t>(&bytes[16]);
  if (crc != 0) found.entry.crc32 = crc;
  *rest = bytes.subspan(all);
  return found;
}

// The local header says where the content begins: its extra field may differ from the directory's.
Status FindContent(const ReadAt& read, uint64_t directory_begin, DirectoryEntry* found) {
  const std::string& name = found->entry.name;
  const auto outside = [&] {
    return CutShort("entry " + Quote(name) + ": does not lie before the zip directory");
  };
  const uint64_t head = kLocalBytes + name.size();
  if (found->offset > directory_begin || directory_begin - found->offset < head) return outside();
  std::vector<uint8_t> local(head);
  NWC_RETURN_IF_ERROR(read(found->offset, local));
  if (LoadLittle<uint32_t>(local.data()) != kLocalMark ||
      LoadLittle<uint16_t>(&local[26]) != name.size() ||
      !std::equal(name.begin(), name.end(), local.begin() + kLocalBytes,
                  [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; })) {
    return CutShort("entry " + Quote(name) + ": is not where the zip directory says");
  }
  found->entry.begin = found->offset + head + LoadLittle<uint16_t>(&local[28]);
  if (found->entry.begin > directory_begin || found->size > directory_begin - found->entry.begin) {
    return outside();
  }
  found->entry.end = found->entry.begin + found->size;
  return {};
}

}  // namespace

Result<std::vector<ZipEntry>> ReadZipDirectory(const ReadAt& read, uint64_t file_size) {
  NWC_ASSIGN_OR_RETURN(const Directory directory, FindDirectory(read, file_size));
  std::vector<uint8_t> bytes(directory.size);
  NWC_RETURN_IF_ERROR(read(directory.begin, bytes));
  ByteSpan rest = bytes;
  std::vector<ZipEntry> entries;
  for (uint64_t i = 0; i < directory.entries; ++i) {
    NWC_ASSIGN_OR_RETURN(DirectoryEntry found, TakeEntry(&rest));
    NWC_RETURN_IF_ERROR(FindContent(read, directory.begin, &found));
    entries.push_back(std::move(found.entry));
  }
  return entries;
}

Result<std::vector<uint8_t>> ReadZipEntry(const ReadAt& read, const ZipEntry& entry,
                                          uint64_t most) {
  if (entry.end - entry.begin > most) {
    return Status(ErrorCode::kUnsupported, "entry " + Quote(entry.name) + ": has " +
                                               FormatBytes(entry.end - entry.begin) +
                                               ", expected at most " + FormatBytes(most));
  }
  std::vector<uint8_t> content(entry.end - entry.begin);
  NWC_RETURN_IF_ERROR(read(entry.begin, content));
  if (entry.crc32) {
    const Status status = CheckCrc32(content, *entry.crc32);
    if (!status.ok()) return status.WithContext("entry " + Quote(entry.name));
  }
  return content;
}

}  // namespace nwc
