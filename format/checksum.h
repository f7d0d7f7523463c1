// XXH3 of byte ranges, seed 0. Pure and thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "format/bytes.h"

namespace nwc {

struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
};

uint64_t Hash64(ByteSpan bytes);
Hash128 Hash128Of(ByteSpan bytes);
std::string ToHex(uint64_t hash);        // 16 digits
std::string ToHex(const Hash128& hash);  // 32 digits, high half first

// XXH3-128 over bytes that arrive in pieces.
class StreamingHash128 {
 public:
  StreamingHash128();
  ~StreamingHash128();
  StreamingHash128(StreamingHash128&&) noexcept;
  StreamingHash128& operator=(StreamingHash128&&) noexcept;
  void Update(ByteSpan bytes);
  [[nodiscard]] Hash128 Digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nwc
