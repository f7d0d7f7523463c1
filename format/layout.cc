// The superblock, 4096 bytes (spec/format.md section 1):
//   0 magic  8 major,minor,features  16 file_size  24 index_offset  32 index_size
//   40 root_hash  56 zero  4088 XXH3-64 of all before
#include "format/layout.h"

#include <algorithm>

namespace nwc {
namespace {

constexpr size_t kMajorAt = 8, kMinorAt = 10, kFeaturesAt = 12, kFileSizeAt = 16;
constexpr size_t kIndexOffsetAt = 24, kIndexSizeAt = 32, kRootLowAt = 40, kRootHighAt = 48;
constexpr size_t kZeroAt = 56, kHashAt = 4088;
constexpr uint64_t kMinIndexBytes = 8;

Status CheckIndexRange(const Superblock& s) {
  const auto end = CheckedAdd(s.index_offset, s.index_size);
  if (s.index_offset % 8 != 0 || s.index_offset < kSuperblockSize ||
      s.index_size < kMinIndexBytes || s.index_size > kMaxIndexBytes || !end ||
      *end != s.file_size) {
    return Status::Corrupt(6, "index range " + std::to_string(s.index_offset) + " + " +
                                  std::to_string(s.index_size) + " does not fit a file of " +
                                  std::to_string(s.file_size) + " bytes");
  }
  return {};
}

}  // namespace

std::array<uint8_t, kSuperblockSize> SerializeSuperblock(const Superblock& s) {
  std::array<uint8_t, kSuperblockSize> block{};
  std::copy(kMagic.begin(), kMagic.end(), block.begin());
  StoreLittle(&block[kMajorAt], kMajor);
  const bool plain = s.required_features == 0;
  StoreLittle(&block[kMinorAt], plain ? uint16_t{0} : kMinor);
  StoreLittle(&block[kFeaturesAt], s.required_features);
  StoreLittle(&block[kFileSizeAt], s.file_size);
  StoreLittle(&block[kIndexOffsetAt], s.index_offset);
  StoreLittle(&block[kIndexSizeAt], s.index_size);
  StoreLittle(&block[kRootLowAt], s.root_hash.low);
  StoreLittle(&block[kRootHighAt], s.root_hash.high);
  StoreLittle(&block[kHashAt], Hash64({block.data(), kHashAt}));
  return block;
}

Result<Superblock> ParseSuperblock(ByteSpan block, uint64_t real_size) {
  if (block.size() < kSuperblockSize || real_size < kSuperblockSize) {
    return Status::Corrupt(
        1, "only " + std::to_string(real_size) +
               " bytes, a container has at least 4096: not an NWC file, or cut short");
  }
  if (!std::equal(kMagic.begin(), kMagic.end(), block.begin())) {
    return Status::Corrupt(1, "no NWC magic: another kind of file, or never finished writing");
  }
  if (LoadLittle<uint64_t>(&block[kHashAt]) != Hash64(block.first(kHashAt))) {
    return Status::Corrupt(2, "superblock hash does not match: the first 4096 bytes are damaged");
  }
  if (const auto major = LoadLittle<uint16_t>(&block[kMajorAt]); major != kMajor) {
    return Status::Corrupt(
        3, "format version " + std::to_string(major) + ", this build reads version 1: update nwc");
  }
  const auto zeros = block.subspan(kZeroAt, kHashAt - kZeroAt);
  const auto features = LoadLittle<uint32_t>(&block[kFeaturesAt]);
  if ((features & ~(kNeuralFeature | kRowGainFeature)) != 0 ||
      std::any_of(zeros.begin(), zeros.end(), [](uint8_t b) { return b != 0; })) {
    return Status::Corrupt(4, "needs features this build does not know: update nwc");
  }
  Superblock s;
  s.required_features = features;
  s.file_size = LoadLittle<uint64_t>(&block[kFileSizeAt]);
  s.index_offset = LoadLittle<uint64_t>(&block[kIndexOffsetAt]);
  s.index_size = LoadLittle<uint64_t>(&block[kIndexSizeAt]);
  s.root_hash.low = LoadLittle<uint64_t>(&block[kRootLowAt]);
  s.root_hash.high = LoadLittle<uint64_t>(&block[kRootHighAt]);
  if (s.file_size != real_size) {
    return Status::Corrupt(5, "should have " + std::to_string(s.file_size) + " bytes, has " +
                                  std::to_string(real_size) + ": the copy is incomplete");
  }
  NWC_RETURN_IF_ERROR(CheckIndexRange(s));
  return s;
}

}  // namespace nwc
