#include "encoder/neural_band.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

namespace nwc {
namespace {

constexpr size_t kLanes = kNeuralColumns;
constexpr double kChunkIdBits = 32;

// sums[i] += Σ_k errors[k] · rows[k][i], k ascending.
void AddProducts(const float* errors, const float* rows, size_t stride, size_t count, size_t width,
                 float* sums) {
  size_t k = 0;
  for (; k + 4 <= count; k += 4) {
    const float* a = rows + k * stride;
    const float *b = a + stride, *c = b + stride, *d = c + stride;
    const float ea = errors[k], eb = errors[k + 1], ec = errors[k + 2], ed = errors[k + 3];
    for (size_t i = 0; i < width; ++i) {
      sums[i] = (((sums[i] + ea * a[i]) + eb * b[i]) + ec * c[i]) + ed * d[i];
    }
  }
  for (; k < count; ++k) {
    for (size_t i = 0; i < width; ++i) sums[i] += errors[k] * rows[k * stride + i];
  }
}

class Band {
 public:
  Band(const NeuralBandContext& context, uint64_t row_begin, uint64_t row_end, int16_t* latents,
       MutableByteSpan decoded)
      : c_(context),
        settings_(context.synthesis->settings()),
        row_begin_(row_begin),
        rows_(row_end - row_begin),
        columns_(context.tensor->columns),
        element_bytes_(DTypeSize(context.tensor->dtype)),
        latents_(latents),
        decoded_(decoded),
        weights_(rows_ * columns_),
        targets_(rows_ * columns_),
        errors_(rows_ * columns_, 0),
        net_input_(settings_.chunk * kLanes),
        net_latents_(settings_.latents * kLanes),
        rounded_(settings_.latents * kLanes),
        net_output_(settings_.chunk * kLanes) {
    ToFloat(c_.tensor->dtype, c_.elements.data() + Offset(0, 0), weights_.size(), weights_.data());
  }

  NeuralBandResult Run() {
    const uint64_t blocks = DivideRoundingUp(columns_, kNeuralFeedbackBlock);
    for (uint64_t b = blocks; b-- > 0;) {
      const uint64_t begin = b * kNeuralFeedbackBlock;
      const uint64_t end = std::min(begin + kNeuralFeedbackBlock, columns_);
      SetTargets(begin, end);
      for (uint64_t top = 0; top < rows_; top += settings_.chunk) {
        for (uint64_t i = begin; i < end; i += kLanes) {
          CodeChunks(top, i, std::min<uint64_t>(kLanes, end - i));
        }
      }
    }
    std::sort(result_.exact_chunks.begin(), result_.exact_chunks.end());
    return std::move(result_);
  }

 private:
  [[nodiscard]] size_t Offset(uint64_t row, uint64_t column) const {
    return ((row_begin_ + row) * columns_ + column) * element_bytes_;
  }

  void SetTargets(uint64_t begin, uint64_t end) {
    for (uint64_t j = 0; j < rows_; ++j) {
      const size_t at = j * columns_;
      std::copy_n(&weights_[at + begin], end - begin, &targets_[at + begin]);
      if (c_.feedback.empty() || end == columns_) continue;
      AddProducts(&errors_[at + end], &c_.feedback[end * columns_ + begin], columns_,
                  columns_ - end, end - begin, &targets_[at + begin]);
    }
  }

  // `count` chunks beside each other, with their top at row `top` of the band.
  void CodeChunks(uint64_t top, uint64_t first, size_t count) {
    const size_t height = std::min<uint64_t>(settings_.chunk, rows_ - top);
    std::fill(net_input_.begin(), net_input_.end(), 0.0F);
    for (size_t k = 0; k < height; ++k) {
      for (size_t i = 0; i < count; ++i) {
        const float x = targets_[(top + k) * columns_ + first + i] / c_.column_factor[first + i];
        net_input_[k * kLanes + i] = std::isfinite(x) ? x : 0;
      }
    }
    const uint8_t* quality = &c_.quality[first];
    c_.analysis->Run(net_input_.data(), quality, count, net_latents_.data());
    RoundLatents(count);
    c_.synthesis->Run(rounded_.data(), quality, count, net_output_.data());
    for (size_t i = 0; i < count; ++i) TakeChunk(top, height, first + i, i);
  }

  void RoundLatents(size_t count) {
    std::fill(rounded_.begin(), rounded_.end(), int16_t{0});
    in_range_.fill(true);
    for (size_t l = 0; l < settings_.latents; ++l) {
      for (size_t i = 0; i < count; ++i) {
        const float y = std::nearbyint(net_latents_[l * kLanes + i]);
        const bool fits = y >= INT16_MIN && y <= INT16_MAX;
        in_range_[i] = in_range_[i] && fits;
        rounded_[l * kLanes + i] = fits ? static_cast<int16_t>(y) : int16_t{0};
      }
    }
  }

  void TakeChunk(uint64_t top, size_t height, uint64_t column, size_t lane) {
    const uint64_t chunk_row = top / settings_.chunk;
    int16_t* latents = &latents_[(chunk_row * columns_ + column) * settings_.latents];
    double coded_bits = 0;
    for (size_t l = 0; l < settings_.latents; ++l) {
      latents[l] = rounded_[l * kLanes + lane];
      coded_bits += c_.tables->Cost(c_.quality[column], l, latents[l]);
    }
    const double exact_bits = kChunkIdBits + 8.0 * static_cast<double>(height * element_bytes_);
    Decode(height, column, lane);
    if (!in_range_[lane] || ExactPays(top, height, column, exact_bits - coded_bits)) {
      const auto idle = c_.idle_latents.subspan(c_.quality[column] * settings_.latents);
      std::copy_n(idle.begin(), settings_.latents, latents);
      result_.exact_chunks.emplace_back(chunk_row, column);
      result_.bits += exact_bits;
      for (size_t k = 0; k < height; ++k) {
        std::copy_n(&c_.elements[Offset(top + k, column)], element_bytes_,
                    &decoded_[Offset(top + k, column)]);
      }
      return;
    }
    result_.bits += coded_bits;
    for (size_t k = 0; k < height; ++k) KeepDecoded(top + k, column, k);
  }

  // The chunk as decoded, rounded to the dtype.
  void Decode(size_t height, uint64_t column, size_t lane) {
    for (size_t k = 0; k < height; ++k) {
      column_values_[k] = net_output_[k * kLanes + lane] * c_.column_factor[column];
    }
    const DType dtype = c_.tensor->dtype;
    FromFloat(dtype, column_values_.data(), height, column_elements_.data());
    ToFloat(dtype, column_elements_.data(), height, column_values_.data());
  }

  // Also true where a weight or a decoded value is not finite.
  [[nodiscard]] bool ExactPays(uint64_t top, size_t height, uint64_t column,
                               double extra_bits) const {
    double excess = 0;
    for (size_t k = 0; k < height; ++k) {
      const size_t at = (top + k) * columns_ + column;
      const double target = targets_[at];
      const double coded = target - column_values_[k], exact = target - weights_[at];
      excess += coded * coded - exact * exact;
    }
    const double factor = c_.column_factor[column];
    const double worth =
        2 * std::numbers::ln2 * c_.expected_mse[c_.quality[column]] * factor * factor * extra_bits;
    return !(excess <= worth);
  }

  void KeepDecoded(uint64_t row, uint64_t column, size_t k) {
    const size_t at = row * columns_ + column;
    errors_[at] = weights_[at] - column_values_[k];
    result_.squared_error += static_cast<double>(errors_[at]) * errors_[at];
    std::copy_n(&column_elements_[k * element_bytes_], element_bytes_,
                &decoded_[Offset(row, column)]);
  }

  const NeuralBandContext& c_;
  const NeuralSettings& settings_;
  const uint64_t row_begin_, rows_, columns_;
  const size_t element_bytes_;
  int16_t* latents_;
  MutableByteSpan decoded_;
  std::vector<float> weights_, targets_, errors_;  // rows × columns of the band
  std::vector<float> net_input_, net_latents_;
  std::vector<int16_t> rounded_;
  std::vector<float> net_output_;
  std::array<bool, kLanes> in_range_{};
  std::array<float, kMaxNeuralChunk> column_values_{};
  std::array<uint8_t, kMaxNeuralChunk * sizeof(float)> column_elements_{};
  NeuralBandResult result_;
};

}  // namespace

NeuralBandResult CodeNeuralBand(const NeuralBandContext& context, uint64_t row_begin,
                                uint64_t row_end, int16_t* latents, MutableByteSpan decoded) {
  return Band(context, row_begin, row_end, latents, decoded).Run();
}

}  // namespace nwc
