// Feedback of errors along rows: what the rows of a band do to each other and to the bands below.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace nwc {

// One band's view. Columns are coded in blocks from the last.
class RowFeedback {
 public:
  virtual ~RowFeedback() = default;
  // rows × rows of the band, row-major: U (encoder/ldl.h, FactorUdu).
  [[nodiscard]] virtual std::span<const float> within() const = 0;
  // What rows above the band add to its targets in these columns: columns × rows.
  virtual void Above(size_t column_begin, size_t column_end, std::span<float> feedback) = 0;
  // Takes the final errors, target less decoded value, of the band's rows: columns × rows.
  virtual void Done(size_t column_begin, size_t column_end, std::span<const float> errors) = 0;
};

// The bands of a whole matrix, coded by several threads: a band codes a block of columns when the
// bands above it have. Bands must be begun in order, from the first.
class RowWavefront {
 public:
  // `upper`: rows × rows, row-major; must outlive this. Keeps columns × rows floats.
  RowWavefront(std::span<const float> upper, size_t rows, size_t columns, size_t bands);
  ~RowWavefront();

  // Each once; valid while this is. From any thread.
  std::unique_ptr<RowFeedback> Band(size_t band, size_t row_begin, size_t row_end);

 private:
  class BandFeedback;

  const std::span<const float> upper_;
  const size_t rows_, columns_;
  std::vector<float> errors_;                      // columns × rows
  std::vector<std::atomic<size_t>> columns_left_;  // of each band
};

// A band alone, as a sample: rows above it are taken as coded with errors of the size to expect.
class SampledRows : public RowFeedback {
 public:
  // `noise`: for each row the standard deviation of what rows above the band add to its target;
  // scaled by `column_scale` of each column.
  SampledRows(std::vector<float> within, std::vector<float> noise, std::vector<float> column_scale);

  [[nodiscard]] std::span<const float> within() const override { return within_; }
  void Above(size_t column_begin, size_t column_end, std::span<float> feedback) override;
  void Done(size_t, size_t, std::span<const float>) override {}

 private:
  std::vector<float> within_, noise_, column_scale_;
};

// The rows and columns begin … end of `upper`.
std::vector<float> CutUpper(std::span<const float> upper, size_t rows, size_t begin, size_t end);

}  // namespace nwc
