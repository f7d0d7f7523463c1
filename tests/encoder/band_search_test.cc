#include "encoder/band_search.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <optional>
#include <random>

#include "encoder/importance.h"
#include "encoder/step_choice.h"
#include "encoder/table_fit.h"
#include "tests/encoder/memory_statistics.h"

namespace nwc {
namespace {

constexpr size_t kRows = 24, kColumns = 48;

class Band : public testing::Test {
 protected:
  Band() {
    info_.dtype = DType::kF32;
    info_.rows = kRows;
    info_.columns = kColumns;
    info_.stream.emplace();
    std::mt19937 rng(1);
    std::normal_distribution<float> normal(0, 1);
    weights_.resize(kRows * kColumns);
    for (float& w : weights_) w = normal(rng);
    statistics_.input_moment = CorrelatedMoment(kColumns, 2);
    statistics_.output_moment = SpreadMoments(kRows);
    elements_.resize(weights_.size() * sizeof(float));
    FromFloat(DType::kF32, weights_.data(), weights_.size(), elements_.data());
    scales_ = MeasureScales(info_, elements_);
  }

  TensorImportance Importance(ImportanceMode mode, bool feedback) {
    ImportanceOptions options{mode, feedback, 0, 0, 0};
    auto importance = MeasureImportance(options, info_, scales_, &statistics_, &pool_);
    EXPECT_TRUE(importance.ok());
    return std::move(*importance);
  }

  // Codes all with a step constant; fills decoded_.
  CodedBand Code(const TensorImportance& importance, double constant,
                 IndexCounts* counts = nullptr) {
    const StepsAndTables steps =
        ChooseSteps(info_, scales_, importance.steps, importance.lower, constant);
    info_.stream->scale = steps.scale;
    decoded_bytes_.resize(elements_.size());
    std::optional<RowWavefront> wavefront;
    std::unique_ptr<RowFeedback> rows;
    if (!importance.upper.empty()) {
      wavefront.emplace(importance.upper, kRows, kColumns, 1);
      rows = wavefront->Band(0, 0, kRows);
    }
    const BandInput input{&info_,           &steps.side,    0,         kRows, elements_,
                          importance.lower, decoded_bytes_, rows.get()};
    CodedBand band = CodeBand(input, IndexCosts(DefaultCodec().tables), kLambda, counts);
    decoded_.resize(weights_.size());
    ToFloat(DType::kF32, decoded_bytes_.data(), decoded_.size(), decoded_.data());
    return band;
  }

  double ErrorAtEqualBits(ImportanceMode mode) {
    ImportanceOptions options{mode, true, 0, 0, 0};
    auto importance = MeasureImportance(options, info_, scales_, &statistics_, &pool_);
    EXPECT_TRUE(importance.ok());
    double low = -30, high = 10;
    for (int i = 0; i < 24; ++i) {
      const double middle = 0.5 * (low + high);
      const double bits = Code(*importance, std::exp2(middle)).bits / (kRows * kColumns);
      (bits > 4 ? low : high) = middle;
    }
    return OutputError(true);
  }

  // Σ_jk O_jk · row_j(E) H row_k(E)ᵀ; not weighted: O = 1.
  [[nodiscard]] double OutputError(bool weighted) const {
    double total = 0;
    for (size_t j = 0; j < kRows; ++j) {
      for (size_t k = 0; k < kRows; ++k) {
        if (const double o = weighted ? OutputMoment(j, k) : j == k; o != 0) {
          total += o * RowProduct(j, k);
        }
      }
    }
    return total;
  }
  [[nodiscard]] double OutputMoment(size_t j, size_t k) const {
    const auto& o = statistics_.output_moment;
    if (o.size() == kRows) return j == k ? static_cast<double>(o[j]) : 0;
    return static_cast<double>(o[j * kRows + k]);
  }
  [[nodiscard]] double RowProduct(size_t j, size_t k) const {
    double sum = 0;
    for (size_t a = 0; a < kColumns; ++a) {
      for (size_t b = 0; b < kColumns; ++b) {
        sum += Error(j, a) * static_cast<double>(statistics_.input_moment[a * kColumns + b]) *
               Error(k, b);
      }
    }
    return sum;
  }
  [[nodiscard]] double Error(size_t j, size_t i) const {
    return static_cast<double>(weights_[j * kColumns + i]) - decoded_[j * kColumns + i];
  }

  WorkerPool pool_{1};
  TensorInfo info_;
  std::vector<float> weights_, decoded_;
  std::vector<uint8_t> elements_, decoded_bytes_;
  LayerStatistics statistics_;
  TensorScales scales_;
};

TEST_F(Band, ErrorInStepsIsTheQuadraticFormThatLdlPromises) {
  const TensorImportance importance = Importance(ImportanceMode::kFisher, true);
  const double constant = 0.05;
  const CodedBand band = Code(importance, constant);
  ASSERT_TRUE(importance.measures_kl);
  // Step codes round to eighths of an octave, so a step may be 4.4 % off in each of its two
  // factors.
  EXPECT_NEAR(constant * constant * band.squared_steps / OutputError(true), 1, 0.03);
}

TEST_F(Band, ErrorInStepsIsTheTwoSidedQuadraticForm) {
  statistics_.output_moment = CorrelatedMoment(kRows, 7);
  const TensorImportance importance = Importance(ImportanceMode::kKronecker, true);
  ASSERT_EQ(importance.upper.size(), kRows * kRows);
  const double constant = 0.05;
  const CodedBand band = Code(importance, constant);
  EXPECT_NEAR(constant * constant * band.squared_steps / OutputError(true), 1, 0.03);
}

TEST_F(Band, FeedbackAlongRowsLowersTheWeightedErrorAtEqualBits) {
  statistics_.output_moment = CorrelatedMoment(kRows, 7);
  EXPECT_LT(ErrorAtEqualBits(ImportanceMode::kKronecker),
            0.8 * ErrorAtEqualBits(ImportanceMode::kFisher));
}

TEST_F(Band, FeedbackLowersTheOutputErrorAtTheSameSteps) {
  Code(Importance(ImportanceMode::kNone, false), 0.3);
  const double without = OutputError(false);
  Code(Importance(ImportanceMode::kNone, true), 0.3);
  EXPECT_LT(OutputError(false), 0.6 * without);
}

TEST_F(Band, FisherStepsLowerTheWeightedErrorAtEqualBits) {
  const double uniform = ErrorAtEqualBits(ImportanceMode::kNone);
  const double ldl = ErrorAtEqualBits(ImportanceMode::kLdl);
  const double fisher = ErrorAtEqualBits(ImportanceMode::kFisher);
  EXPECT_LT(ldl, 0.9 * uniform);
  EXPECT_LT(fisher, 0.9 * ldl);
}

TEST_F(Band, TilesTogetherHoldTheBand) {
  const TensorImportance importance = Importance(ImportanceMode::kFisher, true);
  const StepsAndTables steps =
      ChooseSteps(info_, scales_, importance.steps, importance.lower, 0.05);
  info_.stream->scale = steps.scale;
  const BandInput input{&info_, &steps.side, 0, kRows, elements_, importance.lower, {}};
  const CodedBand band = CodeBand(input, IndexCosts(DefaultCodec().tables), kLambda, nullptr);
  const StreamTile left = TileOfBand(band, input, 0, 32), right = TileOfBand(band, input, 32, 48);
  EXPECT_EQ(left.indices.size() + right.indices.size(), band.indices.size());
  EXPECT_EQ(left.exact_columns.size() + right.exact_columns.size(), band.exact_columns.size());
  EXPECT_EQ(left.patches.size() + right.patches.size(), band.patches.size());
  EXPECT_EQ(right.indices[16], band.indices[kColumns + 32]);  // row 1, column 32
}

TEST_F(Band, RefittedTablesMatchTheCodedLength) {
  const TensorImportance importance = Importance(ImportanceMode::kNone, false);
  auto counts = std::make_unique<IndexCounts>();
  Code(importance, 0.1, counts.get());
  const CodecTables tables = RefitTables(DefaultCodec().tables, *counts);
  double entropy = 0, coded = 0, weights = 0;
  for (size_t table = 0; table < counts->size(); ++table) {
    double total = 0;
    for (const uint64_t n : (*counts)[table]) total += static_cast<double>(n);
    for (size_t k = 0; k < tables.frequencies[table].size() && total > 0; ++k) {
      const auto n = static_cast<double>((*counts)[table][k]);
      if (n == 0) continue;
      const double f = tables.frequencies[table][k] * (k == 0 ? 1.0 : 2.0) / kProbabilityScale;
      coded -= n * std::log2(f);
      entropy -= n * std::log2(n / total);
      weights += n;
    }
  }
  // 1152 weights against a prior of 4096: the tables cannot be the counts', but near.
  EXPECT_LT(coded / weights - entropy / weights, 0.05);
  EXPECT_GE(coded, entropy - 1e-9);
}

}  // namespace
}  // namespace nwc
