#include "format/normalize.h"

#include <algorithm>
#include <numeric>

#include "format/freq_table.h"

namespace nwc {

std::vector<uint16_t> NormalizeFrequencies(const std::vector<uint64_t>& counts, int multiplicity) {
  const auto total =
      static_cast<double>(std::accumulate(counts.begin(), counts.end(), uint64_t{0}));
  const auto copies = [&](size_t i) { return i == 0 ? 1 : multiplicity; };
  std::vector<uint16_t> f(counts.size(), 0);
  int left = static_cast<int>(kProbabilityScale);
  for (size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    const double ideal = kProbabilityScale * static_cast<double>(counts[i]) / (total * copies(i));
    f[i] = static_cast<uint16_t>(std::clamp(ideal, 1.0, kProbabilityScale - 1.0));
    left -= copies(i) * f[i];
  }
  // Coded length changes by about count / (f ± ½) a copy: hand out or take back one at a time where
  // it pays most or costs least.
  while (left != 0) {
    const bool give = left > 0;
    size_t best = counts.size();
    double best_value = 0;
    for (size_t i = 0; i < counts.size(); ++i) {
      if (counts[i] == 0 || (give && copies(i) > left) || (!give && f[i] == 1)) continue;
      const double value =
          static_cast<double>(counts[i]) / (copies(i) * (f[i] + (give ? 0.5 : -0.5)));
      if (best == counts.size() || (give ? value > best_value : value < best_value)) {
        best = i;
        best_value = value;
      }
    }
    f[best] = static_cast<uint16_t>(give ? f[best] + 1 : f[best] - 1);
    left -= give ? copies(best) : -copies(best);
  }
  return f;
}

}  // namespace nwc
