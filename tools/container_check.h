// Reads a whole container once, in file order, and collects everything that is wrong with it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "loader/loader.h"

namespace nwc {

// One broken rule.
struct Problem {
  int rule = 0;                  // of spec/format.md section 4
  std::string tensor;            // its name, or empty
  std::optional<size_t> chunk;   // of the tensor
  std::string file;              // name of a metadata file, or empty
  std::optional<uint64_t> byte;  // offset in the container
  std::string message;           // where, what was found, what was expected
};

struct CheckReport {
  std::vector<Problem> problems;       // in file order
  std::vector<std::string> undecoded;  // tensors of a profile newer than this build
  uint64_t tensors = 0, chunks = 0, files = 0;
  uint64_t hashed_bytes = 0, padding_bytes = 0, decoded_bytes = 0;
};

struct CheckSettings {
  bool deep = false;  // decode, too
  int threads = 0;    // 0: one a core
  std::function<void(const std::string& item, uint64_t bytes_done, uint64_t bytes_total)> progress;
  const std::atomic<bool>* cancel = nullptr;  // polled; null: never
};

// R20-R31 and R34-R37 (R22-R29 and R35-R37 only when deep); the others hold, or the loader would
// not be open. An error is one of reading, memory or cancellation: what is wrong with the data is
// in the report.
Result<CheckReport> CheckContainer(const Loader& loader, const CheckSettings& settings);

}  // namespace nwc
