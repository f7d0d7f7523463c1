#include "tools/tensor_difference.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace nwc {
namespace {

constexpr size_t kBlock = 2048;  // elements converted at once

void ToDoubles(const Elements& elements, uint64_t begin, size_t count, double* out) {
  const size_t size = DTypeSize(elements.dtype);
  const uint8_t* source = elements.bytes.data() + begin * size;
  if (!IsCodedFloat(elements.dtype)) {
    for (size_t i = 0; i < count; ++i) out[i] = ElementAsDouble(elements.dtype, source + i * size);
    return;
  }
  std::array<float, kBlock> values;
  ToFloat(elements.dtype, source, count, values.data());
  std::copy_n(values.begin(), count, out);
}

// Sums over one row, about a shift near its mean: the variance must not drown in the mean.
struct RowSums {
  double shift = 0, sum = 0, squares = 0, error = 0;
  uint64_t count = 0;
  bool finite = true;

  void Add(double a, double squared_error) {
    if (count++ == 0) shift = a;
    sum += a - shift;
    squares += (a - shift) * (a - shift);
    error += squared_error;
  }
  void FinishInto(TensorDifference* difference) const {
    const auto n = static_cast<double>(count);
    const double variance = (squares - sum * sum / n) / n;
    if (!finite || !(variance > 0)) return;
    ++difference->rows;
    difference->row_error_sum += error / n / variance;
  }
};

class Comparer {
 public:
  Comparer(const Elements& a, const Elements& b, uint64_t columns)
      : a_(a), b_(b), columns_(columns) {
    difference_.identical =
        a.dtype == b.dtype &&
        (a.bytes.empty() || std::memcmp(a.bytes.data(), b.bytes.data(), a.bytes.size()) == 0);
  }

  TensorDifference Run() {
    const uint64_t count = a_.bytes.size() / DTypeSize(a_.dtype);
    for (uint64_t i = 0; i < count; i += kBlock) {
      CompareBlock(i, std::min<uint64_t>(kBlock, count - i));
    }
    if (a_.dtype != b_.dtype) {
      difference_.identical = difference_.differing == 0 && difference_.nonfinite_mismatches == 0;
    }
    return difference_;
  }

 private:
  void CompareBlock(uint64_t begin, size_t count) {
    std::array<double, kBlock> a, b;
    ToDoubles(a_, begin, count, a.data());
    ToDoubles(b_, begin, count, b.data());
    for (size_t i = 0; i < count; ++i) {
      AddPair(begin + i, a[i], b[i]);
      if (columns_ == 0 || (begin + i + 1) % columns_ != 0) continue;
      row_.FinishInto(&difference_);
      row_ = {};
    }
  }

  void AddPair(uint64_t element, double a, double b) {
    if (!std::isfinite(a) || !std::isfinite(b)) {
      row_.finite = false;
      if (!SameBits(element, a, b)) ++difference_.nonfinite_mismatches;
      return;
    }
    const double e = a - b;
    difference_.signal += a * a;
    difference_.error += e * e;
    difference_.max_abs = std::max(difference_.max_abs, std::fabs(e));
    if (e != 0) ++difference_.differing;
    row_.Add(a, e * e);
  }

  [[nodiscard]] bool SameBits(uint64_t element, double a, double b) const {
    if (a_.dtype != b_.dtype) return std::bit_cast<uint64_t>(a) == std::bit_cast<uint64_t>(b);
    const size_t size = DTypeSize(a_.dtype);
    return std::memcmp(&a_.bytes[element * size], &b_.bytes[element * size], size) == 0;
  }

  const Elements a_, b_;
  const uint64_t columns_;
  RowSums row_;
  TensorDifference difference_;
};

}  // namespace

std::optional<double> TensorDifference::relative_mse() const {
  if (error == 0) return 0;
  if (signal == 0) return std::nullopt;
  return error / signal;
}

std::optional<double> TensorDifference::snr_db() const {
  if (error == 0 || signal == 0) return std::nullopt;
  return 10 * std::log10(signal / error);
}

TensorDifference Compare(const Elements& a, const Elements& b, uint64_t columns) {
  return Comparer(a, b, columns).Run();
}

}  // namespace nwc
