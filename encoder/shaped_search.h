// Trellis search down a column whose rows feed their errors to the rows below them, as the survivor
// of each state has them: with O = U·diag(D)·Uᵀ the second moment of the gradients on the outputs
// (encoder/ldl.h), row j is searched for its target + Σ_{k<j} U_kj e_k, e_k = target less decoded
// value of row k. The two-sided quadratic form is that of YAQA (Tseng et al., arXiv 2505.22988);
// the feedback inside the trellis is per-survivor processing (Raheli, Polydoros & Tzou, IEEE Trans.
// Communications 43(2), 1995).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "encoder/trellis_search.h"
#include "format/dtype.h"

namespace nwc {

// A column of a band; all spans have its rows.
struct ShapedColumn {
  std::span<const float> targets;    // of the decoded values
  std::span<const float> above;      // what rows above the band add to the targets
  std::span<const float> original;   // values of escaped weights
  std::span<const float> row_steps;  // RowStep
  std::span<const uint8_t> tables;
  float column_factor;  // ColumnFactor
  DType dtype;
};

class ShapedSearch {
 public:
  // `upper`: rows × rows, row-major, U of the band's rows; must outlive the search.
  ShapedSearch(const IndexCosts& costs, const TrellisSearchOptions& options,
               std::span<const float> upper, size_t rows);

  // Fills `out` and, in steps, what each row was searched for. Returns the bits of the path,
  // escapes included.
  double Search(const ShapedColumn& column, std::span<SearchedIndex> out, std::span<float> wanted);

 private:
  // Rows whose errors survivors may still differ in: between one and two blocks of these. Older
  // ones are those of the best survivor for all.
  static constexpr size_t kBlock = 16;
  static constexpr size_t kWindow = 2 * kBlock;

  struct State {
    float cost;
    float errors[kWindow];  // of the rows from window_begin_ on
  };
  // What the survivor that ends in a state did last.
  struct Arrival {
    float wanted;  // in steps
    CandidateSearch::Candidate choice;
    uint8_t from;
  };
  struct Step {
    Arrival of[kMaxTrellisStates];
  };

  void Begin(const ShapedColumn& column);
  void SearchRow(const ShapedColumn& column, size_t j);
  void Offer(const ShapedColumn& column, size_t j, size_t state);
  void Advance(const ShapedColumn& column, size_t j);
  void DecideBlock(size_t j);
  [[nodiscard]] float ErrorOf(const ShapedColumn& column, size_t j, const Arrival& arrival) const;
  double TraceBack(const ShapedColumn& column, std::span<SearchedIndex> out,
                   std::span<float> wanted) const;

  const CandidateSearch candidates_;
  const Trellis& trellis_;
  const size_t states_, rows_;
  const std::span<const float> upper_;
  std::vector<float> near_;      // rows × kWindow: U of the rows in the window above each row
  std::vector<float> feedback_;  // rows: of rows above the window and above the band
  std::vector<Step> steps_;
  std::vector<State> now_, next_;
  size_t window_begin_ = 0;
};

}  // namespace nwc
