// Viterbi search for the indices of one column of a tile: the path through the trellis with the
// least squared error + λ · bits (entropy-coded trellis-coded quantisation: Fischer & Wang, IEEE
// Trans. IT 38(2), 1992; "dependent quantisation" in VVC).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "format/freq_table.h"
#include "format/trellis.h"

namespace nwc {

// Coded length in bits of every index of every table.
class IndexCosts {
 public:
  explicit IndexCosts(const CodecTables& tables);
  // Costs of table (t, q), addressed by k from -alphabet to alphabet.
  [[nodiscard]] const float* of(int t, int q) const {
    return &bits_[static_cast<size_t>(2 * t + q) * kStride + kMaxIndexMagnitude];
  }
  [[nodiscard]] int alphabet(int t, int q) const {
    return alphabet_[static_cast<size_t>(2 * t + q)];
  }

 private:
  static constexpr size_t kStride = 2 * kMaxIndexMagnitude + 1;
  std::vector<float> bits_;
  std::vector<int> alphabet_;
};

struct TrellisSearchOptions {
  TrellisId trellis = TrellisId::kEightStates;
  float lambda = 0.33f;          // squared steps a bit
  float escape_bits = 48;        // what storing a weight exactly costs beyond its index
  int offset1 = 0, offset2 = 0;  // reconstruction offsets, 64ths of a step
};

// What the search decided for one weight.
struct SearchedIndex {
  int8_t k = 0;
  bool escaped = false;  // store the weight exactly; k is whatever was cheapest
  uint8_t quantizer = 0;
};

// Finds the indices of one weight that a path may take.
class CandidateSearch {
 public:
  struct Candidate {
    float cost = 0;  // squared error in steps + λ · bits
    int8_t k = 0;
    bool escaped = false;
  };

  CandidateSearch(const IndexCosts& costs, const TrellisSearchOptions& options)
      : costs_(costs), options_(options) {}

  // The cheapest index of quantiser q of each parity for a target in steps.
  void Find(float scaled, int t, int q, Candidate best[2]) const;

  // Bits of a candidate, escape included.
  [[nodiscard]] float Bits(const Candidate& c, int t, int q) const {
    return costs_.of(t, q)[c.k] + (c.escaped ? options_.escape_bits : 0.0f);
  }
  [[nodiscard]] const TrellisSearchOptions& options() const { return options_; }

 private:
  void Offer(float scaled, int t, int q, int k, Candidate best[2]) const;
  void OfferEscape(int t, int q, Candidate best[2]) const;

  const IndexCosts& costs_;
  TrellisSearchOptions options_;
};

class TrellisSearch {
 public:
  TrellisSearch(const IndexCosts& costs, const TrellisSearchOptions& options);

  // `scaled[j]` is the target of row j in steps, `tables[j]` its t (0 … 63). Fills `out` (as many)
  // and returns the bits of the path, escapes included.
  double Search(std::span<const float> scaled, std::span<const uint8_t> tables,
                std::span<SearchedIndex> out);

 private:
  CandidateSearch candidates_;
  const Trellis& trellis_;
  struct Step {
    CandidateSearch::Candidate best[2][2];  // of each quantiser and parity
    uint8_t previous[kMaxTrellisStates];    // state · 2 + parity of the survivor
  };
  std::vector<Step> steps_;  // scratch
};

}  // namespace nwc
