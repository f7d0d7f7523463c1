#include "encoder/shaped_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "encoder/add_scaled.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

constexpr float kUnreached = std::numeric_limits<float>::infinity();

float RoundTo(DType dtype, float value) {
  switch (dtype) {
    case DType::kBF16:
      return BFloat16ToFloat(FloatToBFloat16(value));
    case DType::kF16:
      return HalfToFloat(FloatToHalf(value));
    default:
      return value;
  }
}

// First row of the window that row j sees.
size_t WindowBegin(size_t j, size_t block) { return j < 2 * block ? 0 : (j / block - 1) * block; }

}  // namespace

ShapedSearch::ShapedSearch(const IndexCosts& costs, const TrellisSearchOptions& options,
                           std::span<const float> upper, size_t rows)
    : candidates_(costs, options),
      trellis_(kTrellises[static_cast<size_t>(options.trellis)]),
      states_(static_cast<size_t>(trellis_.states)),
      rows_(rows),
      upper_(upper),
      near_(rows * kWindow, 0),
      feedback_(rows),
      steps_(rows),
      now_(states_),
      next_(states_) {
  for (size_t j = 0; j < rows; ++j) {
    const size_t begin = WindowBegin(j, kBlock);
    for (size_t k = begin; k < j; ++k) near_[j * kWindow + (k - begin)] = upper[k * rows + j];
  }
}

double ShapedSearch::Search(const ShapedColumn& column, std::span<SearchedIndex> out,
                            std::span<float> wanted) {
  Begin(column);
  for (size_t j = 0; j < rows_; ++j) {
    if (WindowBegin(j, kBlock) != window_begin_) DecideBlock(j);
    SearchRow(column, j);
    Advance(column, j);
  }
  return TraceBack(column, out, wanted);
}

void ShapedSearch::Begin(const ShapedColumn& column) {
  std::copy(column.above.begin(), column.above.end(), feedback_.begin());
  for (State& s : now_) {
    s.cost = kUnreached;
    std::fill(std::begin(s.errors), std::end(s.errors), 0.0f);
  }
  now_[0].cost = 0;
  window_begin_ = 0;
}

void ShapedSearch::SearchRow(const ShapedColumn& column, size_t j) {
  for (State& s : next_) s.cost = kUnreached;
  for (size_t s = 0; s < states_; ++s) {
    if (now_[s].cost < kUnreached) Offer(column, j, s);
  }
}

// Both ways on from a survivor.
void ShapedSearch::Offer(const ShapedColumn& column, size_t j, size_t state) {
  const float* near = &near_[j * kWindow];
  const float* errors = now_[state].errors;
  float sums[4] = {0, 0, 0, 0};
  for (size_t k = 0; k < kWindow; k += 4) {
    for (size_t m = 0; m < 4; ++m) sums[m] += near[k + m] * errors[k + m];
  }
  const float fed = feedback_[j] + ((sums[0] + sums[1]) + (sums[2] + sums[3]));
  const float step = (column.column_factor * kOffsetUnit) * column.row_steps[j];
  Arrival arrival;
  arrival.wanted = (column.targets[j] + fed) / step;
  CandidateSearch::Candidate best[2];
  candidates_.Find(arrival.wanted, column.tables[j], trellis_.quantizer[state], best);
  for (size_t parity = 0; parity < 2; ++parity) {
    const float total = now_[state].cost + best[parity].cost;
    const size_t to = trellis_.next[2 * state + parity];
    if (total >= next_[to].cost) continue;
    next_[to].cost = total;
    arrival.choice = best[parity];
    arrival.from = static_cast<uint8_t>(state);
    steps_[j].of[to] = arrival;
  }
}

void ShapedSearch::Advance(const ShapedColumn& column, size_t j) {
  float least = kUnreached;
  for (const State& s : next_) least = std::min(least, s.cost);
  for (size_t s = 0; s < states_; ++s) {
    State& state = next_[s];
    if (state.cost == kUnreached) continue;
    const Arrival& arrival = steps_[j].of[s];
    std::copy(std::begin(now_[arrival.from].errors), std::end(now_[arrival.from].errors),
              std::begin(state.errors));
    state.errors[j - window_begin_] = ErrorOf(column, j, arrival);
    state.cost -= least;  // so that float keeps its precision on long columns
  }
  std::swap(now_, next_);
}

float ShapedSearch::ErrorOf(const ShapedColumn& column, size_t j, const Arrival& arrival) const {
  if (arrival.choice.escaped) return column.targets[j] - column.original[j];
  const TrellisSearchOptions& options = candidates_.options();
  const int level = ReconstructionLevel(arrival.choice.k, trellis_.quantizer[arrival.from],
                                        options.offset1, options.offset2);
  const float value = Reconstruct(level, column.column_factor, column.row_steps[j]);
  return column.targets[j] - RoundTo(column.dtype, value);
}

// The oldest block leaves the window before row j: its errors, of the best survivor, reach all rows
// from j on.
void ShapedSearch::DecideBlock(size_t j) {
  const State& best = *std::min_element(
      now_.begin(), now_.end(), [](const State& a, const State& b) { return a.cost < b.cost; });
  for (size_t k = 0; k < kBlock; k += 4) {
    AddFourScaled(&upper_[(window_begin_ + k) * rows_ + j], rows_, &best.errors[k], rows_ - j,
                  &feedback_[j]);
  }
  for (State& s : now_) {
    std::copy(s.errors + kBlock, s.errors + kWindow, s.errors);
    std::fill(s.errors + kBlock, s.errors + kWindow, 0.0f);
  }
  window_begin_ += kBlock;
}

double ShapedSearch::TraceBack(const ShapedColumn& column, std::span<SearchedIndex> out,
                               std::span<float> wanted) const {
  size_t state = static_cast<size_t>(
      std::min_element(now_.begin(), now_.end(),
                       [](const State& a, const State& b) { return a.cost < b.cost; }) -
      now_.begin());
  double bits = 0;
  for (size_t j = rows_; j-- > 0;) {
    const Arrival& a = steps_[j].of[state];
    const uint8_t q = trellis_.quantizer[a.from];
    out[j] = {a.choice.k, a.choice.escaped, q};
    wanted[j] = a.wanted;
    bits += candidates_.Bits(a.choice, column.tables[j], q);
    state = a.from;
  }
  return bits;
}

}  // namespace nwc
