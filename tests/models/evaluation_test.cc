#include "encoder/evaluation.h"

#include <cmath>
#include <limits>
#include <random>

#include "tests/models/reference_models.h"

namespace nwc {
namespace {

using torch::Tensor;

constexpr EvaluationOptions kOptions{.threads = 1, .device = Device::kCpu};

// Every matrix of the layers with a little noise.
std::unique_ptr<MemoryCheckpoint> Noisy(const TensorSource& source, float scale) {
  std::mt19937 rng(11);
  std::normal_distribution<float> normal(0, scale);
  return Changed(source, [&](SourceTensor* tensor, std::vector<float>* values) {
    if (tensor->name.find("layer") == std::string::npos) return true;
    for (float& value : *values) value += normal(rng);
    return true;
  });
}

Evaluation Evaluated(const ReferenceModel& original, const TensorSource* packed,
                     const TokenWindows& windows) {
  const auto result = Evaluate(original.config, *original.weights, packed, windows, kOptions);
  EXPECT_TRUE(result.ok()) << result.status().ToString();
  return result.ok() ? *result : Evaluation();
}

void ExpectClose(const Evaluation& a, const Evaluation& b) {
  EXPECT_NEAR(a.perplexity, b.perplexity, 1e-6 * b.perplexity);
  EXPECT_NEAR(a.reference_perplexity, b.reference_perplexity, 1e-6 * b.reference_perplexity);
  EXPECT_NEAR(a.kl, b.kl, 1e-6 * b.kl);
  EXPECT_EQ(a.top1_agreement, b.top1_agreement);
  EXPECT_EQ(a.tokens, b.tokens);
}

// The same figures from whole logits, with plain loops.
Evaluation Direct(const Tensor& original, const Tensor& packed, const Tensor& ids) {
  const int64_t vocabulary = original.size(2);
  const auto log_probabilities = [&](const float* logits) {
    double sum = 0;
    for (int64_t i = 0; i < vocabulary; ++i) sum += std::exp(static_cast<double>(logits[i]));
    std::vector<double> result;
    for (int64_t i = 0; i < vocabulary; ++i) result.push_back(logits[i] - std::log(sum));
    return result;
  };
  Evaluation sums;
  for (int64_t w = 0; w < ids.size(0); ++w) {
    for (int64_t i = 0; i + 1 < ids.size(1); ++i) {
      const auto p = log_probabilities(original[w][i].data_ptr<float>());
      const auto q = log_probabilities(packed[w][i].data_ptr<float>());
      const auto next = static_cast<size_t>(ids[w][i + 1].item<int64_t>());
      sums.reference_perplexity -= p[next];
      sums.perplexity -= q[next];
      for (size_t v = 0; v < p.size(); ++v) sums.kl += std::exp(p[v]) * (p[v] - q[v]);
      sums.top1_agreement += std::max_element(p.begin(), p.end()) - p.begin() ==
                             std::max_element(q.begin(), q.end()) - q.begin();
      ++sums.tokens;
    }
  }
  const auto count = static_cast<double>(sums.tokens);
  sums.perplexity = std::exp(sums.perplexity / count);
  sums.reference_perplexity = std::exp(sums.reference_perplexity / count);
  sums.kl /= count;
  sums.top1_agreement /= count;
  return sums;
}

TEST(Evaluation, ModelAgainstItself) {
  const auto reference = ReferenceModel::Named("llama");
  const TokenWindows windows = WindowsOf(reference.ids());
  for (const TensorSource* packed : {static_cast<const TensorSource*>(reference.weights.get()),
                                     static_cast<const TensorSource*>(nullptr)}) {
    const Evaluation found = Evaluated(reference, packed, windows);
    EXPECT_FALSE(found.encoder);
    EXPECT_LE(std::abs(found.kl), 1e-7);
    EXPECT_EQ(found.top1_agreement, 1);
    EXPECT_EQ(found.perplexity, found.reference_perplexity);
    EXPECT_EQ(found.tokens, windows.windows * (windows.length - 1));
  }
}

TEST(Evaluation, FiguresAreThoseOfADirectComputation) {
  const torch::NoGradGuard no_grad;
  for (const char* name : {"llama", "mistral", "qwen3"}) {
    const auto reference = ReferenceModel::Named(name);
    const auto packed = Noisy(*reference.weights, 0.05f);
    const auto model = OpenModel(reference.config, *packed);
    ASSERT_TRUE(model.ok());
    const Evaluation expected = Direct(RunWhole(*reference.model, reference.ids()),
                                       RunWhole(**model, reference.ids()), reference.ids());
    const Evaluation found = Evaluated(reference, packed.get(), WindowsOf(reference.ids()));
    EXPECT_GT(found.kl, 0.01);
    EXPECT_LT(found.top1_agreement, 1);
    ExpectClose(found, expected);
  }
}

TEST(Evaluation, SplitIntoWindowsAndBatchesDoesNotMatter) {
  const auto reference = ReferenceModel::Named("llama");
  const auto packed = Noisy(*reference.weights, 0.05f);
  // Enough windows for several batches.
  std::mt19937 rng(3);
  TokenWindows all{200, 24, {}, {}};
  for (size_t i = 0; i < all.windows * all.length; ++i) {
    all.ids.push_back(static_cast<int32_t>(rng() % 96));
  }
  const Evaluation together = Evaluated(reference, packed.get(), all);
  double kl = 0, loss = 0;
  for (size_t begin = 0; begin < all.windows; begin += 25) {
    const auto first = all.ids.begin() + static_cast<std::ptrdiff_t>(begin * all.length);
    const TokenWindows part{25, 24, {first, first + 25 * 24}, {}};
    const Evaluation found = Evaluated(reference, packed.get(), part);
    kl += found.kl / 8;
    loss += std::log(found.perplexity) / 8;
  }
  EXPECT_NEAR(together.kl, kl, 1e-6 * kl);
  EXPECT_NEAR(std::log(together.perplexity), loss, 1e-6 * loss);

  TokenWindows ragged = all;  // the same windows, said in the other way
  for (size_t i = 0; i <= all.windows; ++i) ragged.begins.push_back(i * all.length);
  ExpectClose(Evaluated(reference, packed.get(), ragged), together);
}

TEST(Evaluation, EvaluatorMayBeUsedAgain) {
  const auto reference = ReferenceModel::Named("qwen2");
  const auto near = Noisy(*reference.weights, 0.02f), far = Noisy(*reference.weights, 0.1f);
  const TokenWindows windows = WindowsOf(reference.ids());
  const auto evaluator = Evaluator::Create(reference.config, *reference.weights, windows, kOptions);
  ASSERT_TRUE(evaluator.ok());
  const auto first = (*evaluator)->Evaluate(near.get());
  const auto other = (*evaluator)->Evaluate(far.get());
  const auto again = (*evaluator)->Evaluate(near.get());
  ASSERT_TRUE(first.ok() && other.ok() && again.ok());
  EXPECT_GT(other->kl, first->kl);
  EXPECT_EQ(again->kl, first->kl);
  EXPECT_EQ(Evaluated(reference, near.get(), windows).kl, first->kl);
}

TEST(Evaluation, SentencesOfDifferentLengths) {
  const torch::NoGradGuard no_grad;
  const auto reference = ReferenceModel::Named("bert");
  const auto packed = Noisy(*reference.weights, 0.05f);
  const auto model = OpenModel(reference.config, *packed);
  ASSERT_TRUE(model.ok());
  TokenWindows sentences{3, 9, {}, {0, 9, 13, 22}};
  for (int32_t i = 0; i < 22; ++i) sentences.ids.push_back(i * 31 % 96);
  double sum = 0, worst = 1;
  for (size_t i = 0; i < 3; ++i) {
    const auto tokens = sentences.Window(i);
    const Tensor ids =
        torch::tensor(std::vector<int64_t>(tokens.begin(), tokens.end())).unsqueeze(0);
    const double cosine =
        torch::cosine_similarity(RunWhole(*reference.model, ids), RunWhole(**model, ids))
            .item<double>();
    sum += cosine;
    worst = std::min(worst, cosine);
  }
  const Evaluation found = Evaluated(reference, packed.get(), sentences);
  EXPECT_TRUE(found.encoder);
  EXPECT_EQ(found.sentences, 3u);
  EXPECT_NEAR(found.mean_cosine, sum / 3, 1e-6);
  EXPECT_NEAR(found.worst_cosine, worst, 1e-6);
  EXPECT_LT(found.worst_cosine, found.mean_cosine);
  EXPECT_NEAR(Evaluated(reference, reference.weights.get(), sentences).worst_cosine, 1, 1e-12);
}

TEST(Evaluation, WeightsThatAreNoNumbersNameTheLayer) {
  const auto reference = ReferenceModel::Named("llama");
  const auto spoiled = Changed(*reference.weights, [](SourceTensor* tensor, auto* values) {
    if (tensor->name == "model.layers.1.mlp.up_proj.weight") {
      values->front() = std::numeric_limits<float>::quiet_NaN();
    }
    return true;
  });
  const auto found = Evaluate(reference.config, *reference.weights, spoiled.get(),
                              WindowsOf(reference.ids()), kOptions);
  EXPECT_EQ(found.status().code(), ErrorCode::kCorrupt);
  EXPECT_NE(found.status().message().find("packed model: layer 1"), std::string::npos)
      << found.status().message();

  const auto headless = Changed(*reference.weights, [](SourceTensor* tensor, auto* values) {
    if (tensor->name == "lm_head.weight") values->front() = std::numeric_limits<float>::infinity();
    return true;
  });
  const auto head = Evaluate(reference.config, *reference.weights, headless.get(),
                             WindowsOf(reference.ids()), kOptions);
  EXPECT_EQ(head.status().code(), ErrorCode::kCorrupt);
}

TEST(Evaluation, BadWindowsAreNamed) {
  const auto reference = ReferenceModel::Named("llama");
  const auto message = [&](const TokenWindows& windows) {
    const auto found = Evaluate(reference.config, *reference.weights, nullptr, windows, kOptions);
    EXPECT_EQ(found.status().code(), ErrorCode::kUsage);
    return found.status().message();
  };
  TokenWindows windows = WindowsOf(reference.ids());
  windows.ids[windows.length + 5] = 96;
  EXPECT_NE(message(windows).find("window 1, position 5: token 96"), std::string::npos);
  windows.ids[windows.length + 5] = -1;
  EXPECT_NE(message(windows).find("token -1"), std::string::npos);
  const TokenWindows long_window{1, 65, std::vector<int32_t>(65, 1), {}};
  EXPECT_NE(message(long_window).find("at most 64"), std::string::npos);
  EXPECT_NE(message({1, 1, {1}, {}}).find("next token"), std::string::npos);
  EXPECT_NE(message({1, 0, {}, {}}).find("empty"), std::string::npos);
  EXPECT_NE(message({}).find("no windows"), std::string::npos);
}

TEST(Evaluation, ProgressEndsAtItsTotalAndCancelStops) {
  const auto reference = ReferenceModel::Named("llama");
  const TokenWindows windows = WindowsOf(reference.ids());
  std::map<std::string, EvaluationProgress> last;
  const auto progress = [&](const EvaluationProgress& p) { last[p.stage] = p; };
  ASSERT_TRUE(Evaluate(reference.config, *reference.weights, reference.weights.get(), windows,
                       kOptions, progress)
                  .ok());
  EXPECT_EQ(last.size(), 3u);
  for (const auto& [stage, p] : last) EXPECT_EQ(p.done, p.total) << stage;
  const std::atomic<bool> cancel{true};
  const auto stopped =
      Evaluate(reference.config, *reference.weights, nullptr, windows, kOptions, {}, &cancel);
  EXPECT_EQ(stopped.status().code(), ErrorCode::kCancelled);
}

}  // namespace
}  // namespace nwc
