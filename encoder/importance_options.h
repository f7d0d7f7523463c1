// How calibration statistics steer the coding.
#pragma once

#include <cstdint>

namespace nwc {

inline constexpr float kLambda =
    0.33f;  // squared steps a bit; tests/bench/README.md says how found

enum class ImportanceMode : uint8_t {
  kNone,      // steps follow the rms of rows; needs no statistics
  kDiagonal,  // columns by diag(H), matrices by their output power
  kLdl,       // columns by the LDL of H, matrices by their output power
  kFisher,    // columns by the LDL of H, rows by the gradient's second moment
};

struct ImportanceOptions {
  ImportanceMode mode = ImportanceMode::kFisher;
  bool feedback = true;    // LDLQ
  double damping = 0.005;  // of H, in mean diagonals
};

}  // namespace nwc
