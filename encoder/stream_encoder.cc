#include "encoder/stream_encoder.h"

#include <algorithm>
#include <cmath>

namespace nwc {
namespace {

constexpr double kMaxScaleOctaves = 60;

}  // namespace

std::vector<float> RowAsFloat(const TensorInfo& tensor, ByteSpan elements, uint64_t row) {
  std::vector<float> values(tensor.columns);
  const size_t stride = tensor.columns * DTypeSize(tensor.dtype);
  ToFloat(tensor.dtype, elements.data() + row * stride, values.size(), values.data());
  return values;
}

std::string WhyNotStream(const TensorInfo& tensor, ByteSpan elements) {
  for (uint64_t row = 0; row < tensor.rows; ++row) {
    double squares = 0;
    for (const float v : RowAsFloat(tensor, elements, row)) {
      switch (std::fpclassify(v)) {
        case FP_NAN:
          return "NaN values: stored exact";
        case FP_INFINITE:
          return "infinite values: stored exact";
        case FP_SUBNORMAL:
          return "subnormal values: stored exact";
        default:
          squares += static_cast<double>(v) * v;
      }
    }
    const double rms = std::sqrt(squares / static_cast<double>(tensor.columns));
    if (rms != 0 && std::fabs(std::log2(rms)) > kMaxScaleOctaves) {
      return "row scale beyond 2^±60: stored exact";
    }
  }
  return "";
}

std::vector<uint8_t> CopyTile(const TensorInfo& tensor, const TileRange& range, ByteSpan elements) {
  const size_t size = DTypeSize(tensor.dtype);
  const size_t row_bytes = range.columns() * size;
  std::vector<uint8_t> tile(range.rows() * row_bytes);
  for (uint64_t j = 0; j < range.rows(); ++j) {
    const size_t from = ((range.row_begin + j) * tensor.columns + range.column_begin) * size;
    std::copy_n(&elements[from], row_bytes, &tile[j * row_bytes]);
  }
  return tile;
}

}  // namespace nwc
