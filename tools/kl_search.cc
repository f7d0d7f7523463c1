#include "tools/kl_search.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "tools/report_text.h"

namespace nwc {
namespace {

constexpr double kMinBits = 1, kMaxBits = 7;
constexpr double kAim = 0.975;  // of the budget: the middle of what is accepted
constexpr double kNearEnough = 0.95;
constexpr double kFinest = 0.01;    // bits
constexpr double kOctavesABit = 2;  // by which KL falls
constexpr int kMaxTrials = 8;

}  // namespace

Result<KlTrial> FindBitsForKl(double budget, double first_bits,
                              const std::function<Result<double>(double bits)>& measure) {
  std::optional<KlTrial> kept, missed;  // nearest on either side of the budget
  double bits = std::clamp(first_bits, kMinBits, kMaxBits);
  double slope = kOctavesABit, last_bits = 0, last_octaves = 0;
  for (int i = 0; i < kMaxTrials; ++i) {
    NWC_ASSIGN_OR_RETURN(const double kl, measure(bits));
    const KlTrial trial{bits, kl};
    if (kl <= budget) {
      if (!kept || bits < kept->bits) kept = trial;
      if (kl >= kNearEnough * budget || bits <= kMinBits) return trial;
    } else {
      if (!missed || bits > missed->bits) missed = trial;
      if (bits >= kMaxBits) break;
    }
    if (kept && missed && kept->bits - missed->bits < kFinest) break;
    const double octaves = std::log2(std::max(kl, 1e-12) / (kAim * budget));
    if (i > 0 && bits != last_bits) {
      slope = std::clamp((last_octaves - octaves) / (bits - last_bits), kOctavesABit / 4,
                         kOctavesABit * 4);
    }
    last_bits = bits;
    last_octaves = octaves;
    double next = bits + octaves / slope;
    // A guess outside of what is known already would learn nothing.
    if (kept && missed && (next <= missed->bits || next >= kept->bits)) {
      next = 0.5 * (kept->bits + missed->bits);
    }
    bits = std::clamp(next, kMinBits, kMaxBits);
  }
  if (kept) return *kept;
  return Status(ErrorCode::kUsage, "7 bits a weight give a KL divergence of " +
                                       FormatNumber("%.3g", missed->kl) + ", more than --kl " +
                                       FormatNumber("%.3g", budget) +
                                       "; use --profile exact, which gives 0");
}

}  // namespace nwc
