#include "tools/sha256.h"

#include <openssl/evp.h>

#include <array>

namespace nwc {
namespace {

constexpr size_t kHashBytes = 32;

EVP_MD_CTX* Context(void* context) { return static_cast<EVP_MD_CTX*>(context); }

Status Failed() { return Status(ErrorCode::kInternal, "OpenSSL cannot compute SHA-256"); }

}  // namespace

Result<std::unique_ptr<Sha256>> Sha256::Create() {
  std::unique_ptr<Sha256> hash(new Sha256(EVP_MD_CTX_new()));
  if (hash->context_ == nullptr) return Failed();
  if (EVP_DigestInit_ex(Context(hash->context_), EVP_sha256(), nullptr) != 1) return Failed();
  return hash;
}

Sha256::~Sha256() { EVP_MD_CTX_free(Context(context_)); }

Status Sha256::Add(ByteSpan bytes) {
  return EVP_DigestUpdate(Context(context_), bytes.data(), bytes.size()) == 1 ? Status() : Failed();
}

Result<std::string> Sha256::FinishHex() {
  std::array<uint8_t, kHashBytes> hash{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(Context(context_), hash.data(), &size) != 1 || size != kHashBytes) {
    return Failed();
  }
  constexpr const char* kDigits = "0123456789abcdef";
  std::string hex;
  for (const uint8_t byte : hash) {
    hex += kDigits[byte >> 4];
    hex += kDigits[byte & 15];
  }
  return hex;
}

Result<std::string> Sha256Hex(ByteSpan bytes) {
  NWC_ASSIGN_OR_RETURN(const auto hash, Sha256::Create());
  NWC_RETURN_IF_ERROR(hash->Add(bytes));
  return hash->FinishHex();
}

}  // namespace nwc
