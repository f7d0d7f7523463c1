#include "format/status.h"

namespace nwc {

int ExitCode(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk:
      return 0;
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
      return 1;
    case ErrorCode::kUsage:
    case ErrorCode::kNotFound:
      return 2;
    default:
      return 3;
  }
}

const char* ErrorName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kOk:
      return "ok";
    case ErrorCode::kUsage:
      return "usage";
    case ErrorCode::kNotFound:
      return "not found";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kIo:
      return "I/O error";
    case ErrorCode::kOutOfMemory:
      return "out of memory";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kInternal:
      return "internal error";
  }
  return "unknown";
}

std::string Status::ToString() const {
  if (ok()) return "ok";
  std::string text = ErrorName(code_);
  if (rule_ != 0) text += " (R" + std::to_string(rule_) + ")";
  return text + ": " + message_;
}

Status Status::WithContext(const std::string& context) const {
  Status s = *this;
  s.message_ = context + ": " + message_;
  return s;
}

}  // namespace nwc
