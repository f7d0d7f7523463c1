// Constants and the superblock of the container (spec/format.md sections 1 and 4): what the writer
// and the reader share.
#pragma once

#include <array>
#include <cstdint>

#include "format/bytes.h"
#include "format/checksum.h"
#include "format/status.h"

namespace nwc {

inline constexpr std::array<uint8_t, 8> kMagic = {0x89, 'N', 'W', 'C', '\r', '\n', 0x1A, '\n'};
inline constexpr uint16_t kMajor = 1;
inline constexpr uint16_t kMinor = 1;  // newest this build writes and knows
// The file holds neural codecs, for which version 1.0 has no place in the payload.
inline constexpr uint32_t kNeuralFeature = 1;
// A tensor has row gains, which version 1.0 would take for damage.
inline constexpr uint32_t kRowGainFeature = 2;
inline constexpr uint64_t kSuperblockSize = 4096;
inline constexpr uint64_t kMaxIndexBytes = 1ull << 30;
inline constexpr uint64_t kMaxTensorBytes = 1ull << 48;
inline constexpr uint64_t kMaxTileBytes = 1ull << 31;
inline constexpr uint64_t kMaxStreamTileWeights = 1ull << 20;
inline constexpr uint64_t kMaxStreamTileColumns = 65535;
inline constexpr uint64_t kMaxGapBytes = 4095;
inline constexpr uint64_t kPayloadAlignment = 4;
inline constexpr uint64_t kLargeTensorBytes = 1 << 20;  // payload from here on starts a page
inline constexpr uint64_t kPageBytes = 4096;
inline constexpr size_t kMaxDimensions = 8;
inline constexpr size_t kMaxNameBytes = 4096;
inline constexpr size_t kMaxFileNameBytes = 255;
inline constexpr size_t kMaxCodecs = 256;

struct Superblock {
  uint64_t file_size = 0;     // bytes
  uint64_t index_offset = 0;  // bytes from the start of the file
  uint64_t index_size = 0;    // bytes
  Hash128 root_hash;
  uint32_t required_features = 0;  // kNeuralFeature and kRowGainFeature, or fewer
};

// Says the oldest version that knows the features.
std::array<uint8_t, kSuperblockSize> SerializeSuperblock(const Superblock& superblock);

// `block` is the first kSuperblockSize bytes of the file (fewer when the file is shorter);
// `real_size` the file's size. Checks R1-R6.
Result<Superblock> ParseSuperblock(ByteSpan block, uint64_t real_size);

}  // namespace nwc
