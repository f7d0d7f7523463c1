#include "encoder/neural_scales.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "format/synthesis.h"

namespace nwc {
namespace {

constexpr int kMaxScaleExponent = 60;
constexpr int kTrimRounds = 3;
// Columns below 2^-40 of the largest, or of 2^-60: finer scales would gain nothing.
constexpr int kLowestCode = -40 * kStepCodesPerOctave;

// Mean squares of the columns, over |value| ≤ limits[column]; finite where anything counts.
std::vector<double> MeanSquares(std::span<const float> values, uint64_t rows, uint64_t columns,
                                const std::vector<double>& limits) {
  std::vector<double> squares(columns, 0);
  std::vector<uint64_t> counted(columns, 0);
  for (uint64_t j = 0; j < rows; ++j) {
    const float* row = &values[j * columns];
    for (uint64_t i = 0; i < columns; ++i) {
      const double v = row[i];
      if (!(std::fabs(v) <= limits[i])) continue;
      squares[i] += v * v;
      ++counted[i];
    }
  }
  for (uint64_t i = 0; i < columns; ++i) {
    squares[i] /= static_cast<double>(std::max<uint64_t>(counted[i], 1));
  }
  return squares;
}

double Octaves(double mean_square) { return std::log2(mean_square) / 2; }

int CodeOf(double mean_square, int exponent) {
  const double code = std::round(kStepCodesPerOctave * (Octaves(mean_square) - exponent));
  return static_cast<int>(std::clamp<double>(code, kLowestCode, kMaxStepCode));
}

}  // namespace

NeuralScales ChooseNeuralScales(std::span<const float> values, uint64_t rows, uint64_t columns) {
  // Finite binary32 values squared stay finite as binary64.
  std::vector<double> limits(columns, std::numeric_limits<float>::max());
  std::vector<double> squares = MeanSquares(values, rows, columns, limits);
  for (int round = 0; round < kTrimRounds; ++round) {
    for (uint64_t i = 0; i < columns; ++i) limits[i] = kOutlierDeviations * std::sqrt(squares[i]);
    squares = MeanSquares(values, rows, columns, limits);
  }
  const double largest = squares.empty() ? 0 : *std::max_element(squares.begin(), squares.end());
  const int exponent = largest == 0 ? 0
                                    : std::clamp(static_cast<int>(std::floor(Octaves(largest))),
                                                 -kMaxScaleExponent, kMaxScaleExponent);
  NeuralScales scales;
  scales.scale = std::ldexp(1.0f, exponent);
  int smallest = 0;
  for (const double s : squares) {
    if (s == 0) continue;
    smallest = std::min(smallest, CodeOf(s, exponent));
  }
  for (const double s : squares) {
    scales.column_code.push_back(static_cast<int16_t>(s == 0 ? smallest : CodeOf(s, exponent)));
  }
  return scales;
}

}  // namespace nwc
