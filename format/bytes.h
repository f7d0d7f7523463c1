// Views of bytes, little-endian access and checked arithmetic.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>

namespace nwc {

static_assert(std::endian::native == std::endian::little, "NWC runs on little-endian machines");

using ByteSpan = std::span<const uint8_t>;
using MutableByteSpan = std::span<uint8_t>;

// Unaligned loads and stores. The caller has checked the bounds.
template <typename T>
T LoadLittle(const void* source) {
  T value;
  std::memcpy(&value, source, sizeof(T));
  return value;
}

template <typename T>
void StoreLittle(void* destination, T value) {
  std::memcpy(destination, &value, sizeof(T));
}

// a·b and a+b, or nothing when they do not fit in 64 bits.
inline std::optional<uint64_t> CheckedMultiply(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_mul_overflow(a, b, &r)) return std::nullopt;
  return r;
}

inline std::optional<uint64_t> CheckedAdd(uint64_t a, uint64_t b) {
  uint64_t r;
  if (__builtin_add_overflow(a, b, &r)) return std::nullopt;
  return r;
}

// Smallest multiple of `alignment` (a power of two) that is ≥ value; value ≤ 2^63.
constexpr uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) & ~(alignment - 1);
}

constexpr uint64_t DivideRoundingUp(uint64_t a, uint64_t b) { return a / b + (a % b != 0); }

}  // namespace nwc
