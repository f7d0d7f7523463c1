// What stands at the public boundary, which exceptions do not cross. Nothing here needs memory that
// may be short.
#pragma once

#include <new>
#include <stdexcept>
#include <string>
#include <system_error>

#include "format/status.h"

namespace nwc {

// kOutOfMemory, with `where` as far as there is memory for that. `where` may be empty.
inline Status OutOfMemory(const std::string& where) noexcept {
  constexpr const char* kShort = "no memory";  // fits into a string without an allocation
  try {
    if (!where.empty()) return Status(ErrorCode::kOutOfMemory, where + ": no memory");
  } catch (const std::bad_alloc&) {
  }
  return Status(ErrorCode::kOutOfMemory, kShort);
}

inline Status NoThreads(const std::string& where, const std::system_error& error) noexcept {
  try {
    return Status(ErrorCode::kIo, where + ": cannot start threads: " + error.what());
  } catch (const std::bad_alloc&) {
    return OutOfMemory(where);
  }
}

// Runs `body`, which returns a Status or a Result. `where`, the file, is looked at after it failed.
template <typename Body>
auto WithoutExceptions(const std::string& where, const Body& body) -> decltype(body()) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return OutOfMemory(where);
  } catch (const std::length_error&) {
    return OutOfMemory(where);
  } catch (const std::system_error& error) {
    return NoThreads(where, error);
  }
}

}  // namespace nwc
