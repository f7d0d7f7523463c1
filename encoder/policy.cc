#include "encoder/policy.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <regex>

namespace nwc {
namespace {

constexpr uint64_t kMinLinearSide = 64;
constexpr uint64_t kStreamTileRows = 512;
constexpr uint64_t kStreamTileWeights = 64 << 10;
constexpr uint64_t kFlatTileWeights = 128 << 10;  // exact
constexpr uint64_t kRawTileBytes = 1 << 20;
constexpr uint64_t kStripe = 32;

uint64_t ElementCount(const std::vector<uint64_t>& shape) {
  uint64_t n = 1;
  for (const uint64_t d : shape) n *= d;
  return n;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

bool IsEmbeddingOrHead(const std::string& name) {
  static const std::regex pattern(
      "embed|embd|(^|[._])(wte|wpe)([._]|$)|lm_head|^output\\.weight$|(^|\\.)head\\.weight$|"
      "predictions\\.decoder",
      std::regex::optimize);
  return std::regex_search(Lower(name), pattern);
}

class Matcher {
 public:
  static Result<Matcher> Compile(const std::string& option, const std::string& pattern) {
    try {
      return Matcher(std::regex(pattern, std::regex::optimize));
    } catch (const std::regex_error& e) {
      return Status(ErrorCode::kUsage,
                    option + " '" + pattern + "' is not a regular expression: " + e.what());
    }
  }
  [[nodiscard]] bool Matches(const std::string& name) const {
    return std::regex_search(name, regex_);
  }

 private:
  explicit Matcher(std::regex regex) : regex_(std::move(regex)) {}
  std::regex regex_;
};

struct CompiledRules {
  std::vector<Matcher> rules;
  std::optional<Matcher> include, exclude;
};

Result<CompiledRules> Compile(const PackOptions& options) {
  CompiledRules compiled;
  for (const PackRule& rule : options.rules) {
    NWC_ASSIGN_OR_RETURN(Matcher matcher, Matcher::Compile("--rule", rule.regex));
    compiled.rules.push_back(std::move(matcher));
  }
  if (!options.include.empty()) {
    NWC_ASSIGN_OR_RETURN(compiled.include, Matcher::Compile("--include", options.include));
  }
  if (!options.exclude.empty()) {
    NWC_ASSIGN_OR_RETURN(compiled.exclude, Matcher::Compile("--exclude", options.exclude));
  }
  return compiled;
}

// (group, layer): embeddings, then layers, then the rest.
std::pair<int, uint64_t> FileOrder(const std::string& name) {
  if (const auto layer = LayerNumber(name)) return {1, *layer};
  const std::string lower = Lower(name);
  const bool first = lower.find("embed") != std::string::npos || lower.find("embd") != lower.npos;
  return {first ? 0 : 2, 0};
}

void SetMatrixView(const SourceTensor& tensor, TensorPlan* plan) {
  plan->rows = plan->weights;
  plan->columns = 1;
  if (tensor.shape.size() < 2 || plan->weights == 0) return;
  const uint64_t rest = plan->weights / tensor.shape[0];
  if (rest > kMaxTileBytes / sizeof(double)) return;  // a tile spans a row at least
  plan->rows = tensor.shape[0];
  plan->columns = rest;
}

// Falls back where the profile cannot apply; says why.
void FitProfile(const SourceTensor& tensor, TensorPlan* plan) {
  const auto lossy = [&] {
    return plan->profile == Profile::kStream || plan->profile == Profile::kNwc;
  };
  if (lossy() && plan->weights == 0) {
    plan->profile = Profile::kRaw;
    plan->note = "empty: raw";
  }
  if (plan->profile != Profile::kRaw && !IsCodedFloat(tensor.dtype)) {
    plan->profile = Profile::kRaw;
  }
  // The trellis runs down columns under a scale for each row: a vector has nothing to gain.
  if (lossy() && (plan->rows == 1 || plan->columns == 1)) {
    plan->profile = Profile::kExact;
    plan->note = "a vector: exact";
  }
  if (plan->profile == Profile::kExact && plan->weights == 0) plan->profile = Profile::kRaw;
}

TensorPlan PlanTensor(const SourceTensor& tensor, const PackOptions& options,
                      const CompiledRules& rules) {
  TensorPlan plan;
  plan.weights = ElementCount(tensor.shape);
  SetMatrixView(tensor, &plan);
  plan.linear = IsLinearWeight(tensor);
  plan.profile = plan.linear ? options.profile : Profile::kExact;
  if (options.profile == Profile::kRaw) plan.profile = Profile::kRaw;
  plan.bits = options.bits;
  for (size_t r = 0; r < rules.rules.size(); ++r) {
    if (!rules.rules[r].Matches(tensor.name)) continue;
    plan.profile = options.rules[r].profile;
    plan.bits = options.rules[r].bits > 0 ? options.rules[r].bits : options.bits;
    const bool asked_too_much = plan.profile != Profile::kRaw && !IsCodedFloat(tensor.dtype);
    plan.note = asked_too_much ? std::string("dtype ") + DTypeName(tensor.dtype) + ": raw" : "";
  }
  FitProfile(tensor, &plan);
  if (plan.profile == Profile::kNwc && options.neural != nullptr) {
    plan.row_unit = options.neural->synthesis.chunk;
  }
  return plan;
}

}  // namespace

bool IsLinearWeight(const SourceTensor& tensor) {
  if (tensor.shape.size() < 2 || !IsCodedFloat(tensor.dtype)) return false;
  const uint64_t n = ElementCount(tensor.shape);
  const uint64_t rows = tensor.shape[0];
  return n != 0 && rows >= kMinLinearSide && n / rows >= kMinLinearSide &&
         !IsEmbeddingOrHead(tensor.name);
}

Result<std::vector<TensorPlan>> PlanTensors(const TensorSource& source,
                                            const PackOptions& options) {
  NWC_ASSIGN_OR_RETURN(const CompiledRules rules, Compile(options));
  const auto& tensors = source.tensors();
  std::vector<TensorPlan> plans;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const std::string& name = tensors[i].name;
    if (rules.include && !rules.include->Matches(name)) continue;
    if (rules.exclude && rules.exclude->Matches(name)) continue;
    plans.push_back(PlanTensor(tensors[i], options, rules));
    plans.back().source = i;
  }
  if (plans.empty()) {
    return Status(ErrorCode::kUsage, "no tensor is selected: check --include and --exclude");
  }
  std::stable_sort(plans.begin(), plans.end(), [&](const TensorPlan& a, const TensorPlan& b) {
    return FileOrder(tensors[a.source].name) < FileOrder(tensors[b.source].name);
  });
  return plans;
}

void ChooseTiles(Profile profile, TensorInfo* t, uint32_t row_unit) {
  const uint64_t columns = std::max<uint64_t>(t->columns, 1);
  t->tile_columns = static_cast<uint32_t>(std::min<uint64_t>(columns, UINT32_MAX));
  if (profile == Profile::kStream || profile == Profile::kNwc) {
    const uint64_t whole = std::max<uint64_t>(1, kStreamTileRows / row_unit) * row_unit;
    const uint64_t tile_rows = std::min(t->rows, whole);
    // Equal tiles of whole stripes, about kStreamTileWeights each.
    const uint64_t wanted =
        std::max<uint64_t>(1, (tile_rows * columns + kStreamTileWeights / 2) / kStreamTileWeights);
    const uint64_t across = std::min(AlignUp(DivideRoundingUp(columns, wanted), kStripe),
                                     kMaxStreamTileColumns / kStripe * kStripe);
    t->tile_rows = static_cast<uint32_t>(tile_rows);
    t->tile_columns = static_cast<uint32_t>(across);
    return;
  }
  const uint64_t per_tile =
      profile == Profile::kRaw ? kRawTileBytes / DTypeSize(t->dtype) : kFlatTileWeights;
  t->tile_rows = static_cast<uint32_t>(std::clamp<uint64_t>(per_tile / columns, 1, 1u << 30));
}

TensorInfo DescribeTensor(const SourceTensor& tensor, const TensorPlan& plan) {
  TensorInfo info;
  info.name = tensor.name;
  info.dtype = tensor.dtype;
  info.profile_value = static_cast<uint8_t>(plan.profile);
  info.linear = plan.linear;
  info.shape = tensor.shape;
  info.rows = plan.rows;
  info.columns = plan.columns;
  info.shard = tensor.shard;
  ChooseTiles(plan.profile, &info, plan.row_unit);
  return info;
}

}  // namespace nwc
