// Column scales of profile `nwc`: what a column is divided by before its chunks reach the net.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nwc {

struct NeuralScales {
  float scale = 1;                   // of the tensor, a power of two
  std::vector<int16_t> column_code;  // eighths of an octave; columns
};

// Each column's root mean square in eighths of an octave. `values`: rows × columns, row-major.
// Values that are not finite, and those beyond kOutlierDeviations of what is left, do not count:
// they are stored exactly and must not widen the column for the others. A column of zeros gets the
// code of the smallest. Every product scale · step(code) is normal (spec/format.md R22).
NeuralScales ChooseNeuralScales(std::span<const float> values, uint64_t rows, uint64_t columns);

inline constexpr double kOutlierDeviations = 8;

}  // namespace nwc
