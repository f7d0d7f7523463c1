// Status and Result<T>: how every public function of the project reports failure. No exceptions
// cross a public header; a function that fails leaves its outputs unspecified but destructible.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

namespace nwc {

enum class ErrorCode : uint8_t {
  kOk = 0,
  kUsage,        // the caller asked for something impossible
  kNotFound,     // no such tensor, file or layer
  kCorrupt,      // data breaks a rule of spec/format.md; Status::rule() says which
  kUnsupported,  // valid, but newer than or beyond this build
  kIo,           // the operating system refused or failed
  kOutOfMemory,
  kCancelled,
  kInternal,  // our own bug
};

// The exit code of the command-line tools for an error: 1 data, 2 usage, 3 system.
int ExitCode(ErrorCode code);
const char* ErrorName(ErrorCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {}

  // Rule R<rule> of spec/format.md section 4 is broken.
  static Status Corrupt(int rule, std::string message) {
    Status s(ErrorCode::kCorrupt, std::move(message));
    s.rule_ = rule;
    return s;
  }

  [[nodiscard]] bool ok() const { return code_ == ErrorCode::kOk; }
  [[nodiscard]] ErrorCode code() const { return code_; }
  [[nodiscard]] int rule() const { return rule_; }  // 0 when no rule applies
  [[nodiscard]] const std::string& message() const { return message_; }

  // "corrupt (R20): <context>: <message>".
  [[nodiscard]] std::string ToString() const;

  // The same error with `context` (a file, tensor or chunk) put before its message.
  [[nodiscard]] Status WithContext(const std::string& context) const;

 private:
  ErrorCode code_ = ErrorCode::kOk;
  int rule_ = 0;
  std::string message_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: implicit by design
  Result(Status status) : status_(std::move(status)) { assert(!status_.ok()); }  // NOLINT

  [[nodiscard]] bool ok() const { return value_.has_value(); }
  [[nodiscard]] const Status& status() const { return status_; }
  T& operator*() { return *value_; }
  const T& operator*() const { return *value_; }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  Status status_;
  std::optional<T> value_;
};

}  // namespace nwc

#define NWC_CONCAT_INNER(a, b) a##b
#define NWC_CONCAT(a, b) NWC_CONCAT_INNER(a, b)

// Returns from the enclosing function when `expression` is not OK.
#define NWC_RETURN_IF_ERROR(expression)                                                  \
  do {                                                                                   \
    if (::nwc::Status nwc_status_ = (expression); !nwc_status_.ok()) return nwc_status_; \
  } while (false)

// NWC_ASSIGN_OR_RETURN(auto x, F()): x = *F(), or returns F()'s error.
#define NWC_ASSIGN_OR_RETURN(declaration, expression)                                             \
  auto NWC_CONCAT(nwc_result_, __LINE__) = (expression);                                          \
  if (!NWC_CONCAT(nwc_result_, __LINE__).ok()) return NWC_CONCAT(nwc_result_, __LINE__).status(); \
  declaration = std::move(*NWC_CONCAT(nwc_result_, __LINE__))
