// How calibration statistics steer the coding.
#pragma once

#include <cstdint>

namespace nwc {

inline constexpr float kLambda =
    0.33f;  // squared steps a bit; tests/bench/README.md says how found

enum class ImportanceMode : uint8_t {
  kNone,       // steps follow the rms of rows; needs no statistics
  kDiagonal,   // columns by diag(H), matrices by their output power
  kLdl,        // columns by the LDL of H, matrices by their output power
  kFisher,     // columns by the LDL of H, rows by the gradient's mean squares
  kKronecker,  // columns by the LDL of H, rows by the one of the gradient's second moment, errors
               // fed along both; kFisher where only mean squares are known
};

struct ImportanceOptions {
  ImportanceMode mode = ImportanceMode::kKronecker;
  bool feedback = true;    // LDLQ
  double damping = 0.005;  // of H, in mean diagonals
  // Of the gradient's second moment: as damping, and how far it shrinks towards its diagonal.
  double row_damping = 0.02, row_shrinkage = 0.2;
};

}  // namespace nwc
