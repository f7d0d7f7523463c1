#include "encoder/stream_encoder.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "format/synthesis.h"

namespace nwc {
namespace {

constexpr double kMaxScaleOctaves = 60;
constexpr int kDeadRowTable = kMinStepCode;  // clamps to t = 0
constexpr int kPatchIdBytes = 4;
constexpr float kHalfOverflow = 65520;  // from here on binary16 rounds to infinity

int RoundedOctaves(double ratio) {
  return static_cast<int>(std::lround(kStepCodesPerOctave * std::log2(ratio)));
}

// Bits a weight lost when a Gaussian is coded with the table of another whose scale is `codes`
// eighths of an octave away: their Kullback-Leibler divergence.
double MismatchBits(double codes) {
  const double octaves = codes / kStepCodesPerOctave;
  return (std::exp2(2 * octaves) - 1) / (2 * std::log(2.0)) - octaves;
}

size_t CodedBytes(const std::vector<int16_t>& values) {
  return SerializeSideInfo({values, {}, {}, {}}).size();
}

// Keeps `codes` if they save more bits than they cost over `weights_each` weights a code, else
// replaces all by their mean.
void KeepIfWorthwhile(std::vector<int16_t>* codes, uint64_t weights_each) {
  const double mean =
      std::accumulate(codes->begin(), codes->end(), 0.0) / static_cast<double>(codes->size());
  const auto constant = static_cast<int16_t>(std::lround(mean));
  double saved = 0;
  for (const int16_t c : *codes)
    saved += MismatchBits(c - constant) * static_cast<double>(weights_each);
  const std::vector<int16_t> flat(codes->size(), constant);
  const double cost =
      8.0 * (static_cast<double>(CodedBytes(*codes)) - static_cast<double>(CodedBytes(flat)));
  if (saved < cost) *codes = flat;
}

std::vector<float> RowAsFloat(const TensorInfo& tensor, ByteSpan elements, uint64_t row) {
  std::vector<float> values(tensor.columns);
  const size_t stride = tensor.columns * DTypeSize(tensor.dtype);
  ToFloat(tensor.dtype, elements.data() + row * stride, values.size(), values.data());
  return values;
}

// One tile in binary32 while it is searched.
class TileSearch {
 public:
  TileSearch(const TileInput& input, const IndexCosts& costs, float lambda)
      : input_(input),
        info_(*input.tensor->stream),
        rows_(static_cast<uint32_t>(input.range.rows())),
        columns_(static_cast<uint32_t>(input.range.columns())),
        element_bytes_(DTypeSize(input.tensor->dtype)),
        search_(costs, Options(lambda)) {
    values_.resize(size_t{rows_} * columns_);
    ToFloat(input.tensor->dtype, input.elements.data(), values_.size(), values_.data());
    result_.tile.rows = rows_;
    result_.tile.columns = columns_;
    result_.tile.indices.resize(values_.size());
    for (uint32_t j = 0; j < rows_; ++j) {
      row_steps_.push_back(StepOfCode(input.side->row_step[input.range.row_begin + j]));
    }
    scaled_.resize(rows_);
    tables_.resize(rows_);
    found_.resize(rows_);
  }

  SearchedTile Run() {
    for (uint32_t i = 0; i < columns_; ++i) SearchColumn(i);
    std::sort(result_.tile.patches.begin(), result_.tile.patches.end());
    for (const uint32_t id : result_.tile.patches) AppendElement(id, &result_.tile.patch_values);
    return std::move(result_);
  }

 private:
  TrellisSearchOptions Options(float lambda) const {
    TrellisSearchOptions options;
    options.trellis = static_cast<TrellisId>(info_.trellis);
    options.lambda = lambda;
    options.escape_bits = static_cast<float>(8 * (kPatchIdBytes + element_bytes_));
    options.offset1 = info_.offset1;
    options.offset2 = info_.offset2;
    return options;
  }

  void SearchColumn(uint32_t i) {
    const uint64_t column = input_.range.column_begin + i;
    const float factor = ColumnFactor(info_.scale, input_.side->column_step[column]);
    for (uint32_t j = 0; j < rows_; ++j) {
      const float step = (factor * kOffsetUnit) * row_steps_[j];
      scaled_[j] = values_[size_t{j} * columns_ + i] / step;
      const int t =
          input_.side->row_table[input_.range.row_begin + j] + input_.side->column_table[column];
      tables_[j] = static_cast<uint8_t>(std::clamp(t, 0, kTableCount - 1));
    }
    const double bits = search_.Search(scaled_, tables_, found_);
    const auto escapes = static_cast<size_t>(std::count_if(
        found_.begin(), found_.end(), [](const SearchedIndex& f) { return f.escaped; }));
    // A column full of escapes is cheaper stored whole.
    const bool exact = escapes * (kPatchIdBytes + element_bytes_) > rows_ * element_bytes_;
    result_.bits +=
        exact ? bits - 8.0 * static_cast<double>(escapes * (kPatchIdBytes + element_bytes_)) +
                    8.0 * static_cast<double>(rows_ * element_bytes_)
              : bits;
    if (exact) result_.tile.exact_columns.push_back(static_cast<uint16_t>(i));
    for (uint32_t j = 0; j < rows_; ++j) TakeWeight(j, i, factor, exact);
  }

  void TakeWeight(uint32_t j, uint32_t i, float factor, bool exact_column) {
    const uint32_t id = j * columns_ + i;
    const SearchedIndex& f = found_[j];
    result_.tile.indices[id] = f.k;
    if (exact_column) {
      AppendElement(id, &result_.tile.exact_values);
      CopyElement(id);
      return;
    }
    const int level = ReconstructionLevel(f.k, f.quantizer, info_.offset1, info_.offset2);
    const float value = Reconstruct(level, factor, row_steps_[j]);
    const bool overflows = input_.tensor->dtype == DType::kF16 && std::fabs(value) >= kHalfOverflow;
    if (f.escaped || overflows) {
      result_.tile.patches.push_back(id);
      CopyElement(id);
      return;
    }
    NoteOffset(f, scaled_[j]);
    StoreDecoded(id, value);
  }

  void NoteOffset(const SearchedIndex& f, float scaled) {
    if (f.k == 0) return;
    const auto level = static_cast<float>(2 * std::abs(f.k) - f.quantizer);
    const float inside = level - (f.k > 0 ? scaled : -scaled);
    const size_t which = std::abs(f.k) == 1 ? 0 : 1;
    result_.inside[which] += inside;
    ++result_.inside_count[which];
  }

  void StoreDecoded(uint32_t id, float value) {
    uint8_t element[sizeof(float)];
    FromFloat(input_.tensor->dtype, &value, 1, element);
    float decoded = 0;
    ToFloat(input_.tensor->dtype, element, 1, &decoded);
    const double error = static_cast<double>(values_[id]) - decoded;
    result_.squared_error += error * error;
    if (!input_.decoded.empty()) {
      std::copy_n(element, element_bytes_, &input_.decoded[id * element_bytes_]);
    }
  }

  void CopyElement(uint32_t id) {
    if (input_.decoded.empty()) return;
    std::copy_n(&input_.elements[id * element_bytes_], element_bytes_,
                &input_.decoded[id * element_bytes_]);
  }

  void AppendElement(uint32_t id, std::vector<uint8_t>* out) const {
    const uint8_t* p = &input_.elements[id * element_bytes_];
    out->insert(out->end(), p, p + element_bytes_);
  }

  const TileInput& input_;
  const StreamInfo& info_;
  const uint32_t rows_, columns_;
  const size_t element_bytes_;
  TrellisSearch search_;
  SearchedTile result_;
  std::vector<float> values_, row_steps_, scaled_;
  std::vector<uint8_t> tables_;
  std::vector<SearchedIndex> found_;
};

}  // namespace

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

TensorScales MeasureScales(const TensorInfo& tensor, ByteSpan elements) {
  TensorScales scales;
  scales.row_rms.reserve(tensor.rows);
  std::vector<double> column_squares(tensor.columns, 0);
  uint64_t live_rows = 0;
  for (uint64_t row = 0; row < tensor.rows; ++row) {
    const std::vector<float> values = RowAsFloat(tensor, elements, row);
    double squares = 0;
    for (const float v : values) squares += static_cast<double>(v) * v;
    scales.row_rms.push_back(std::sqrt(squares / static_cast<double>(tensor.columns)));
    if (squares == 0) continue;
    ++live_rows;
    const double inverse = static_cast<double>(tensor.columns) / squares;
    for (uint64_t i = 0; i < tensor.columns; ++i) {
      column_squares[i] += static_cast<double>(values[i]) * values[i] * inverse;
    }
  }
  for (const double s : column_squares) {
    scales.column_ratio.push_back(live_rows == 0 ? 0
                                                 : std::sqrt(s / static_cast<double>(live_rows)));
  }
  return scales;
}

SideInfo ChooseSideInfo(const TensorInfo& tensor, const TensorScales& scales, double step_ratio) {
  SideInfo side;
  const double octaves = std::log2(step_ratio);
  const auto live =
      std::find_if(scales.row_rms.begin(), scales.row_rms.end(), [](double r) { return r != 0; });
  const int resting = live == scales.row_rms.end() ? 0 : RoundedOctaves(*live);
  for (const double rms : scales.row_rms) {
    side.row_step.push_back(static_cast<int16_t>(rms == 0 ? resting : RoundedOctaves(rms)));
    // How far the rounded step leaves σ/δ from 1/step_ratio is the same for row and table code.
    const double exact = rms == 0 ? 0 : kStepCodesPerOctave * std::log2(rms) - side.row_step.back();
    side.row_table.push_back(
        static_cast<int16_t>(std::lround(kTableUnity + exact - kStepCodesPerOctave * octaves)));
  }
  KeepIfWorthwhile(&side.row_table, tensor.columns);
  for (size_t j = 0; j < scales.row_rms.size(); ++j) {
    if (scales.row_rms[j] == 0 && live != scales.row_rms.end()) side.row_table[j] = kDeadRowTable;
  }
  side.column_step.assign(tensor.columns, 0);
  for (const double ratio : scales.column_ratio) {
    side.column_table.push_back(static_cast<int16_t>(
        ratio == 0 ? -kTableCount : std::clamp(RoundedOctaves(ratio), -kTableCount, kTableCount)));
  }
  KeepIfWorthwhile(&side.column_table, tensor.rows);
  return side;
}

SearchedTile SearchTile(const TileInput& input, const IndexCosts& costs, float lambda) {
  return TileSearch(input, costs, lambda).Run();
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
