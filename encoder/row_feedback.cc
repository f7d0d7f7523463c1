#include "encoder/row_feedback.h"

#include <algorithm>
#include <cmath>

#include "encoder/add_scaled.h"

namespace nwc {

std::vector<float> CutUpper(std::span<const float> upper, size_t rows, size_t begin, size_t end) {
  std::vector<float> cut;
  cut.reserve((end - begin) * (end - begin));
  for (size_t k = begin; k < end; ++k) {
    cut.insert(cut.end(), &upper[k * rows + begin], &upper[k * rows + begin] + (end - begin));
  }
  return cut;
}

class RowWavefront::BandFeedback : public RowFeedback {
 public:
  BandFeedback(RowWavefront* all, size_t band, size_t row_begin, size_t row_end)
      : all_(*all),
        band_(band),
        row_begin_(row_begin),
        rows_(row_end - row_begin),
        within_(CutUpper(all->upper_, all->rows_, row_begin, row_end)) {}

  [[nodiscard]] std::span<const float> within() const override { return within_; }

  void Above(size_t column_begin, size_t column_end, std::span<float> feedback) override {
    std::fill(feedback.begin(), feedback.end(), 0.0f);
    if (band_ == 0) return;
    WaitFor(column_begin);
    // Four rows above at a time; their coefficients stay near while the columns pass.
    size_t k = 0;
    for (; k + 4 <= row_begin_; k += 4) {
      for (size_t i = column_begin; i < column_end; ++i) {
        AddFourScaled(Coefficients(k), all_.rows_, Errors(k, i), rows_,
                      &feedback[(i - column_begin) * rows_]);
      }
    }
    for (; k < row_begin_; ++k) {
      for (size_t i = column_begin; i < column_end; ++i) {
        AddScaled(Coefficients(k), *Errors(k, i), rows_, &feedback[(i - column_begin) * rows_]);
      }
    }
  }

  void Done(size_t column_begin, size_t column_end, std::span<const float> errors) override {
    for (size_t i = column_begin; i < column_end; ++i) {
      std::copy_n(&errors[(i - column_begin) * rows_], rows_,
                  &all_.errors_[i * all_.rows_ + row_begin_]);
    }
    all_.columns_left_[band_].store(column_begin, std::memory_order_release);
    all_.columns_left_[band_].notify_all();
  }

 private:
  // Until the band above, and so all above it, has coded the columns from `column` on.
  void WaitFor(size_t column) const {
    const std::atomic<size_t>& left = all_.columns_left_[band_ - 1];
    for (size_t now = left.load(std::memory_order_acquire); now > column;
         now = left.load(std::memory_order_acquire)) {
      left.wait(now, std::memory_order_acquire);
    }
  }

  // What the error of row k adds to the band's rows; in column i, the errors of the rows from k on.
  [[nodiscard]] const float* Coefficients(size_t k) const {
    return &all_.upper_[k * all_.rows_ + row_begin_];
  }
  [[nodiscard]] const float* Errors(size_t k, size_t i) const {
    return &all_.errors_[i * all_.rows_ + k];
  }

  RowWavefront& all_;
  const size_t band_, row_begin_, rows_;
  const std::vector<float> within_;
};

RowWavefront::RowWavefront(std::span<const float> upper, size_t rows, size_t columns, size_t bands)
    : upper_(upper), rows_(rows), columns_(columns), errors_(rows * columns), columns_left_(bands) {
  for (auto& left : columns_left_) left.store(columns_, std::memory_order_relaxed);
}

RowWavefront::~RowWavefront() = default;

std::unique_ptr<RowFeedback> RowWavefront::Band(size_t band, size_t row_begin, size_t row_end) {
  return std::make_unique<BandFeedback>(this, band, row_begin, row_end);
}

SampledRows::SampledRows(std::vector<float> within, std::vector<float> noise,
                         std::vector<float> column_scale)
    : within_(std::move(within)),
      noise_(std::move(noise)),
      column_scale_(std::move(column_scale)) {}

void SampledRows::Above(size_t column_begin, size_t column_end, std::span<float> feedback) {
  // Two uniform numbers of a fixed sequence make a triangular distribution, which is near enough.
  const auto uniform = [](uint64_t n) {
    n = (n ^ (n >> 30)) * 0xBF58476D1CE4E5B9u;
    n = (n ^ (n >> 27)) * 0x94D049BB133111EBu;
    return static_cast<float>((n ^ (n >> 31)) >> 40) * 0x1p-24f;
  };
  const size_t rows = noise_.size();
  for (size_t i = column_begin; i < column_end; ++i) {
    for (size_t j = 0; j < rows; ++j) {
      const uint64_t n = (i * rows + j) * 0x9E3779B97F4A7C15u;
      const float unit = (uniform(n) - uniform(~n)) * 2.4494897f;  // of variance 1
      feedback[(i - column_begin) * rows + j] = unit * noise_[j] * column_scale_[i];
    }
  }
}

}  // namespace nwc
