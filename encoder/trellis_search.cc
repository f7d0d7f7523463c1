#include "encoder/trellis_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "format/synthesis.h"

namespace nwc {

IndexCosts::IndexCosts(const CodecTables& tables)
    : bits_(kTableCount * kQuantizerCount * kStride, 0), alphabet_(kTableCount * kQuantizerCount) {
  for (int t = 0; t < kTableCount; ++t) {
    for (int q = 0; q < kQuantizerCount; ++q) {
      const auto table = static_cast<size_t>(2 * t + q);
      alphabet_[table] = tables.alphabet(t, q);
      for (int k = -alphabet_[table]; k <= alphabet_[table]; ++k) {
        bits_[table * kStride + static_cast<size_t>(k + kMaxIndexMagnitude)] = static_cast<float>(
            kProbabilityBits - std::log2(static_cast<double>(tables.frequency(t, q, k))));
      }
    }
  }
}

TrellisSearch::TrellisSearch(const IndexCosts& costs, const TrellisSearchOptions& options)
    : candidates_(costs, options), trellis_(kTrellises[static_cast<size_t>(options.trellis)]) {}

void CandidateSearch::Offer(float scaled, int t, int q, int k, Candidate best[2]) const {
  const float value =
      static_cast<float>(ReconstructionLevel(k, q, options_.offset1, options_.offset2)) *
      (1.0f / kOffsetUnit);
  const float error = scaled - value;
  const float cost = error * error + options_.lambda * costs_.of(t, q)[k];
  Candidate& c = best[k & 1];
  if (cost < c.cost) c = {cost, static_cast<int8_t>(k), false};
}

void CandidateSearch::OfferEscape(int t, int q, Candidate best[2]) const {
  for (int k = 0; k < 2; ++k) {
    const float cost = options_.lambda * (costs_.of(t, q)[k] + options_.escape_bits);
    if (cost < best[k].cost) best[k] = {cost, static_cast<int8_t>(k), true};
  }
}

void CandidateSearch::Find(float scaled, int t, int q, Candidate best[2]) const {
  best[0].cost = best[1].cost = std::numeric_limits<float>::infinity();
  const int alphabet = costs_.alphabet(t, q);
  // Nearest index of quantiser q, and its neighbours, which have the other parity and cost less
  // bits on the inner side.
  const float shifted = q == 0 ? scaled : scaled + std::copysign(1.0f, scaled);
  const float limit = static_cast<float>(alphabet) + 1;
  const float nearest = std::clamp(std::nearbyint(0.5f * shifted), -limit, limit);
  const int centre = std::clamp(static_cast<int>(nearest), -alphabet, alphabet);
  for (int k = std::max(centre - 1, -alphabet); k <= std::min(centre + 1, alphabet); ++k) {
    Offer(scaled, t, q, k, best);
  }
  if (std::fabs(nearest) > static_cast<float>(alphabet)) OfferEscape(t, q, best);
}

double TrellisSearch::Search(std::span<const float> scaled, std::span<const uint8_t> tables,
                             std::span<SearchedIndex> out) {
  const auto states = static_cast<size_t>(trellis_.states);
  constexpr float kUnreached = std::numeric_limits<float>::infinity();
  float cost[kMaxTrellisStates];
  std::fill(cost, cost + kMaxTrellisStates, kUnreached);
  cost[0] = 0;
  if (steps_.size() < scaled.size()) steps_.resize(scaled.size());
  for (size_t j = 0; j < scaled.size(); ++j) {
    Step& step = steps_[j];
    for (int q = 0; q < kQuantizerCount; ++q) {
      candidates_.Find(scaled[j], tables[j], q, step.best[q]);
    }
    float next[kMaxTrellisStates];
    std::fill(next, next + kMaxTrellisStates, kUnreached);
    for (size_t s = 0; s < states; ++s) {
      for (size_t parity = 0; parity < 2; ++parity) {
        const float total = cost[s] + step.best[trellis_.quantizer[s]][parity].cost;
        const size_t to = trellis_.next[2 * s + parity];
        if (total < next[to]) {
          next[to] = total;
          step.previous[to] = static_cast<uint8_t>(2 * s + parity);
        }
      }
    }
    // Costs stay near 0, so that float keeps its precision on long columns.
    const float least = *std::min_element(next, next + states);
    for (size_t s = 0; s < states; ++s) cost[s] = next[s] - least;
  }
  size_t state = static_cast<size_t>(std::min_element(cost, cost + states) - cost);
  double bits = 0;
  for (size_t j = scaled.size(); j-- > 0;) {
    const Step& step = steps_[j];
    const size_t parity = step.previous[state] & 1u;
    state = step.previous[state] >> 1;
    const uint8_t q = trellis_.quantizer[state];
    const CandidateSearch::Candidate& c = step.best[q][parity];
    out[j] = {c.k, c.escaped, q};
    bits += candidates_.Bits(c, tables[j], q);
  }
  return bits;
}

}  // namespace nwc
