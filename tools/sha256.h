// SHA-256 (FIPS 180-4), by OpenSSL: the hash that other tools and published checksums use.
#pragma once

#include <memory>
#include <string>

#include "format/bytes.h"
#include "format/status.h"

namespace nwc {

// Add any number of times, then FinishHex once. kInternal when OpenSSL fails.
class Sha256 {
 public:
  static Result<std::unique_ptr<Sha256>> Create();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  Status Add(ByteSpan bytes);
  Result<std::string> FinishHex();  // 64 lower-case digits

 private:
  explicit Sha256(void* context) : context_(context) {}
  void* context_;  // EVP_MD_CTX
};

Result<std::string> Sha256Hex(ByteSpan bytes);

}  // namespace nwc
