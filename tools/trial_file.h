// A container beside the output that is removed unless it becomes the output.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "tools/temporary_registry.h"

namespace nwc {

class TrialFile {
 public:
  explicit TrialFile(const std::string& output)
      : path_(output + ".trial-" + std::to_string(getpid()) + ".nwc"),
        slot_(RegisterTemporary(path_)) {}
  ~TrialFile() {
    std::error_code error;
    std::filesystem::remove(path_, error);
    UnregisterTemporary(slot_);
  }
  TrialFile(const TrialFile&) = delete;
  TrialFile& operator=(const TrialFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  int slot_;
};

}  // namespace nwc
