#include "encoder/band_search.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "encoder/add_scaled.h"
#include "encoder/shaped_search.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

constexpr int kPatchIdBytes = 4;
constexpr float kHalfOverflow = 65520;  // from here on binary16 rounds to infinity
constexpr size_t kFeedbackBlock = 32;   // columns whose errors reach the rest together

class BandSearch {
 public:
  BandSearch(const BandInput& input, const IndexCosts& costs, float lambda, IndexCounts* counts)
      : input_(input),
        info_(*input.tensor->stream),
        rows_(input.row_end - input.row_begin),
        columns_(input.tensor->columns),
        element_bytes_(DTypeSize(input.tensor->dtype)),
        counts_(counts),
        search_(costs, Options(lambda)) {
    ReadTargets();
    band_.rows = static_cast<uint32_t>(rows_);
    band_.columns = static_cast<uint32_t>(columns_);
    band_.indices.resize(rows_ * columns_);
    row_steps_ = RowSteps(*input.side, input.row_begin, input.row_end);
    for (auto* v : {&wanted_, &values_, &original_}) v->resize(rows_);
    tables_.resize(rows_);
    found_.resize(rows_);
    element_.resize(rows_ * element_bytes_);
    if (!input.lower.empty()) errors_.resize(kFeedbackBlock * rows_);
    if (input.rows == nullptr) return;
    shaped_.emplace(costs, Options(lambda), input.rows->within(), rows_);
    above_.resize(kFeedbackBlock * rows_);
    row_errors_.resize(kFeedbackBlock * rows_);
  }

  CodedBand Run() {
    for (size_t end = columns_; end > 0;) {
      const size_t begin = (end - 1) / kFeedbackBlock * kFeedbackBlock;
      if (shaped_) input_.rows->Above(begin, end, above_);
      for (size_t i = end; i-- > begin;) {
        SearchColumn(i, begin);
        if (input_.lower.empty()) continue;
        KeepError(i, begin);
        for (size_t k = begin; k < i; ++k) {
          AddScaled(Error(i - begin), input_.lower[i * columns_ + k], rows_, Target(k));
        }
      }
      if (shaped_) input_.rows->Done(begin, end, row_errors_);
      if (!input_.lower.empty()) FeedForward(begin, end);
      end = begin;
    }
    std::sort(band_.patches.begin(), band_.patches.end());
    std::reverse(band_.exact_columns.begin(), band_.exact_columns.end());
    return std::move(band_);
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

  float* Target(size_t column) { return &targets_[column * rows_]; }
  float* Error(size_t in_block) { return &errors_[in_block * rows_]; }

  // Column after column, so that feedback and search run along memory.
  void ReadTargets() {
    targets_.resize(rows_ * columns_);
    std::vector<float> row(columns_);
    for (size_t j = 0; j < rows_; ++j) {
      ToFloat(input_.tensor->dtype, &input_.elements[j * columns_ * element_bytes_], columns_,
              row.data());
      for (size_t i = 0; i < columns_; ++i) targets_[i * rows_ + j] = row[i];
    }
  }

  void SearchColumn(size_t i, size_t block_begin) {
    const float factor = ColumnFactor(info_.scale, input_.side->column_step[i]);
    for (size_t j = 0; j < rows_; ++j) {
      const int t = input_.side->row_table[input_.row_begin + j] + input_.side->column_table[i];
      tables_[j] = static_cast<uint8_t>(std::clamp(t, 0, kTableCount - 1));
    }
    ReadOriginal(i);
    const double bits = Search(i, (i - block_begin) * rows_, factor);
    const auto escapes = static_cast<size_t>(std::count_if(
        found_.begin(), found_.end(), [](const SearchedIndex& f) { return f.escaped; }));
    const size_t escape_bytes = escapes * (kPatchIdBytes + element_bytes_);
    const size_t column_bytes = rows_ * element_bytes_;
    // A column full of escapes is cheaper stored whole.
    const bool exact = escape_bytes > column_bytes;
    band_.bits += bits;
    if (exact) {
      band_.bits += 8 * (static_cast<double>(column_bytes) - static_cast<double>(escape_bytes));
      band_.exact_columns.push_back(static_cast<uint32_t>(i));
    }
    Reconstruct(factor);
    for (size_t j = 0; j < rows_; ++j) TakeWeight(j, i, exact);
    Account(factor);
    if (!shaped_) return;
    float* errors = &row_errors_[(i - block_begin) * rows_];
    for (size_t j = 0; j < rows_; ++j) errors[j] = Target(i)[j] - values_[j];
  }

  // found_ and wanted_: what was chosen, and for which targets, in steps.
  double Search(size_t i, size_t above, float factor) {
    if (shaped_) {
      const std::span<const float> fed(&above_[above], rows_);
      return shaped_->Search(
          {{Target(i), rows_}, fed, original_, row_steps_, tables_, factor, input_.tensor->dtype},
          found_, wanted_);
    }
    const float* target = Target(i);
    for (size_t j = 0; j < rows_; ++j) {
      wanted_[j] = target[j] / ((factor * kOffsetUnit) * row_steps_[j]);
    }
    return search_.Search(wanted_, tables_, found_);
  }

  void ReadOriginal(size_t i) {
    for (size_t j = 0; j < rows_; ++j) {
      std::copy_n(&input_.elements[(j * columns_ + i) * element_bytes_], element_bytes_,
                  &element_[j * element_bytes_]);
    }
    ToFloat(input_.tensor->dtype, element_.data(), rows_, original_.data());
  }

  // values_: what the decoder gives before escapes.
  void Reconstruct(float factor) {
    for (size_t j = 0; j < rows_; ++j) {
      const SearchedIndex& f = found_[j];
      const int level = ReconstructionLevel(f.k, f.quantizer, info_.offset1, info_.offset2);
      values_[j] = nwc::Reconstruct(level, factor, row_steps_[j]);
      if (input_.tensor->dtype == DType::kF16 && std::fabs(values_[j]) >= kHalfOverflow) {
        found_[j].escaped = true;
      }
    }
    FromFloat(input_.tensor->dtype, values_.data(), rows_, element_.data());
    ToFloat(input_.tensor->dtype, element_.data(), rows_, values_.data());
  }

  void TakeWeight(size_t j, size_t i, bool exact_column) {
    const size_t id = j * columns_ + i;
    const SearchedIndex& f = found_[j];
    band_.indices[id] = f.k;
    const uint8_t* from = &element_[j * element_bytes_];
    if (exact_column || f.escaped) {
      values_[j] = original_[j];
      from = &input_.elements[id * element_bytes_];
      if (!exact_column) band_.patches.push_back(static_cast<uint32_t>(id));
    }
    if (!input_.decoded.empty()) {
      std::copy_n(from, element_bytes_, &input_.decoded[id * element_bytes_]);
    }
  }

  void Account(float factor) {
    for (size_t j = 0; j < rows_; ++j) {
      const SearchedIndex& f = found_[j];
      const double error = static_cast<double>(original_[j]) - values_[j];
      band_.squared_error += error * error;
      const float step = (factor * kOffsetUnit) * row_steps_[j];
      const double steps = static_cast<double>(wanted_[j] - values_[j] / step);
      band_.squared_steps += steps * steps;
      if (!f.escaped) NoteOffset(f, wanted_[j]);
      if (counts_ != nullptr) {
        ++(*counts_)[2U * tables_[j] + f.quantizer][static_cast<size_t>(std::abs(f.k))];
      }
    }
  }

  void NoteOffset(const SearchedIndex& f, float wanted) {
    if (f.k == 0) return;
    const auto level = static_cast<float>(2 * std::abs(f.k) - f.quantizer);
    const float inside = level - (f.k > 0 ? wanted : -wanted);
    const size_t which = std::abs(f.k) == 1 ? 0 : 1;
    band_.inside[which] += static_cast<double>(inside);
    ++band_.inside_count[which];
  }

  void KeepError(size_t i, size_t block_begin) {
    float* error = Error(i - block_begin);
    for (size_t j = 0; j < rows_; ++j) error[j] = original_[j] - values_[j];
  }

  // Errors of columns begin … end to all columns before begin.
  void FeedForward(size_t begin, size_t end) {
    for (size_t k = 0; k < begin; ++k) {
      size_t i = begin;
      for (; i + 4 <= end; i += 4) {
        const float* l = &input_.lower[i * columns_ + k];
        const float coefficients[4] = {l[0], l[columns_], l[2 * columns_], l[3 * columns_]};
        AddFourScaled(Error(i - begin), rows_, coefficients, rows_, Target(k));
      }
      for (; i < end; ++i) {
        AddScaled(Error(i - begin), input_.lower[i * columns_ + k], rows_, Target(k));
      }
    }
  }

  const BandInput& input_;
  const StreamInfo& info_;
  const size_t rows_, columns_, element_bytes_;
  IndexCounts* counts_;
  TrellisSearch search_;
  CodedBand band_;
  std::vector<float> targets_;  // columns × rows
  std::vector<float> errors_;   // of one block: columns × rows
  std::optional<ShapedSearch> shaped_;
  std::vector<float> above_, row_errors_;  // of one block: columns × rows
  std::vector<float> row_steps_, wanted_, values_, original_;
  std::vector<uint8_t> tables_, element_;
  std::vector<SearchedIndex> found_;
};

}  // namespace

CodedBand CodeBand(const BandInput& input, const IndexCosts& costs, float lambda,
                   IndexCounts* counts) {
  return BandSearch(input, costs, lambda, counts).Run();
}

StreamTile TileOfBand(const CodedBand& band, const BandInput& input, uint64_t column_begin,
                      uint64_t column_end) {
  const size_t size = DTypeSize(input.tensor->dtype);
  StreamTile tile;
  tile.rows = band.rows;
  tile.columns = static_cast<uint32_t>(column_end - column_begin);
  const auto append = [&](size_t id, std::vector<uint8_t>* out) {
    const uint8_t* p = &input.elements[id * size];
    out->insert(out->end(), p, p + size);
  };
  for (uint32_t j = 0; j < band.rows; ++j) {
    const int8_t* row = &band.indices[size_t{j} * band.columns];
    tile.indices.insert(tile.indices.end(), row + column_begin, row + column_end);
  }
  for (const uint32_t i : band.exact_columns) {
    if (i < column_begin || i >= column_end) continue;
    tile.exact_columns.push_back(static_cast<uint16_t>(i - column_begin));
    for (uint32_t j = 0; j < band.rows; ++j)
      append(size_t{j} * band.columns + i, &tile.exact_values);
  }
  for (const uint32_t id : band.patches) {
    const uint32_t j = id / band.columns, i = id % band.columns;
    if (i < column_begin || i >= column_end) continue;
    tile.patches.push_back(j * tile.columns + static_cast<uint32_t>(i - column_begin));
    append(id, &tile.patch_values);
  }
  return tile;
}

}  // namespace nwc
