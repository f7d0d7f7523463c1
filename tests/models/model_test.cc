#include "encoder/models/model.h"

#include <cstdlib>
#include <set>

#include "tests/models/reference_models.h"

namespace nwc {
namespace {

using torch::Tensor;

double LargestDifference(const Tensor& a, const Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

double ErrorAgainstReference(const ReferenceModel& reference) {
  const torch::NoGradGuard no_grad;
  const Tensor found = RunWhole(*reference.model, reference.ids());
  const Tensor expected =
      ReadTensor(*reference.expected, reference.model->is_encoder() ? "embeddings" : "logits");
  EXPECT_EQ(found.sizes(), expected.sizes());
  return LargestDifference(found, expected);
}

class ReferenceTest : public testing::TestWithParam<const char*> {};

TEST_P(ReferenceTest, OutputsMatchTransformers) {
  EXPECT_LE(ErrorAgainstReference(ReferenceModel::Named(GetParam())), 1e-4);
}

TEST_P(ReferenceTest, ObserverSeesEveryMatrixOnce) {
  const auto reference = ReferenceModel::Named(GetParam());
  const auto layer = reference.model->LoadLayer(1);
  ASSERT_TRUE(layer.ok());
  std::multiset<std::string> matrices, seen;
  for (const auto& [name, value] : (*layer)->parameters) {
    if (value.dim() == 2) matrices.insert(name);
  }
  const Tensor hidden = reference.model->Embed(reference.ids());
  (*layer)->Forward(hidden, [&](const std::string& weight, const Tensor& x, const Tensor& y) {
    seen.insert(weight);
    Tensor expected = x.matmul((*layer)->parameters.at(weight).t());
    const auto bias = (*layer)->parameters.find(weight.substr(0, weight.rfind('.')) + ".bias");
    if (bias != (*layer)->parameters.end()) expected = expected + bias->second;
    EXPECT_LE(LargestDifference(y, expected), 1e-5) << weight;
  });
  EXPECT_EQ(seen, matrices);
}

// The derivative along a random direction, by autograd and by a difference of two forwards.
TEST_P(ReferenceTest, GradientsOfHiddenParametersAndOutputsAreRight) {
  const auto reference = ReferenceModel::Named(GetParam());
  const auto layer = reference.model->LoadLayer(1);
  ASSERT_TRUE(layer.ok());
  torch::manual_seed(7);
  const double epsilon = 1e-5;
  auto& parameters = (*layer)->parameters;
  for (auto& [name, value] : parameters) value = value.to(torch::kFloat64).requires_grad_();
  const Tensor hidden =
      reference.model->Embed(reference.ids()).to(torch::kFloat64).detach().requires_grad_();
  const Tensor target = torch::randn_like(hidden);
  std::vector<Tensor> outputs;
  const Tensor loss = ((*layer)->Forward(hidden,
                                         [&](const std::string&, const Tensor&, const Tensor& y) {
                                           y.retain_grad();
                                           outputs.push_back(y);
                                         }) *
                       target)
                          .sum();
  loss.backward();
  for (const Tensor& y : outputs) EXPECT_GT(y.grad().abs().max().item<double>(), 0);

  const Tensor direction = torch::randn_like(hidden);
  double slope = (hidden.grad() * direction).sum().item<double>();
  std::map<std::string, Tensor> original = parameters, directions;
  for (const auto& [name, value] : original) {
    directions[name] = torch::randn_like(value);
    slope += (value.grad() * directions[name]).sum().item<double>();
  }
  const torch::NoGradGuard no_grad;
  const auto loss_at = [&](double step) {
    for (auto& [name, value] : parameters) value = original[name] + step * directions[name];
    return ((*layer)->Forward(hidden + step * direction, {}) * target).sum().item<double>();
  };
  const double difference = (loss_at(epsilon) - loss_at(-epsilon)) / (2 * epsilon);
  EXPECT_NEAR(slope, difference, 1e-5 * (1 + std::abs(difference)));
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceTest,
                         testing::Values("llama", "llama3_rope", "linear_rope", "mistral", "qwen2",
                                         "qwen3", "bert"),
                         [](const auto& parameter) { return std::string(parameter.param); });

// NWC_REFERENCE_MODEL is a folder that make_references.py --check wrote.
TEST(Reference, ModelOfEnvironmentMatchesTransformers) {
  const char* folder = std::getenv("NWC_REFERENCE_MODEL");
  if (folder == nullptr) GTEST_SKIP() << "NWC_REFERENCE_MODEL is not set";
  const double error = ErrorAgainstReference(ReferenceModel(folder));
  std::printf("largest difference / largest output: %.3g\n", error);
  EXPECT_LE(error, 1e-4);
}

TEST(Model, ReplacedParameterChangesForwardAndHead) {
  auto reference = ReferenceModel::Named("llama");
  const torch::NoGradGuard no_grad;
  const Tensor before = RunWhole(*reference.model, reference.ids());
  Tensor& head = reference.model->parameters.at("lm_head.weight");
  head = head * 2;
  EXPECT_LE(LargestDifference(RunWhole(*reference.model, reference.ids()), before * 2), 1e-6);

  const auto layer = reference.model->LoadLayer(0);
  const Tensor hidden = reference.model->Embed(reference.ids());
  for (auto& [name, value] : (*layer)->parameters) value = torch::zeros_like(value);
  EXPECT_TRUE((*layer)->Forward(hidden, {}).equal(hidden));
}

TEST(Model, LayerOutlivesModel) {
  auto reference = ReferenceModel::Named("qwen2");
  const Tensor hidden = reference.model->Embed(reference.ids());
  const auto layer = reference.model->LoadLayer(1);
  const Tensor before = (*layer)->Forward(hidden, {});
  reference.model.reset();
  EXPECT_TRUE((*layer)->Forward(hidden, {}).equal(before));
}

TEST(Model, PrefixOfTensorNamesMayBeThereOrNot) {
  const torch::NoGradGuard no_grad;
  const auto bert = ReferenceModel::Named("bert");
  const auto with = Changed(*bert.weights, [](SourceTensor* tensor, std::vector<float>*) {
    tensor->name = "bert." + tensor->name;
    return true;
  });
  const auto renamed = OpenModel(bert.config, *with);
  ASSERT_TRUE(renamed.ok()) << renamed.status().ToString();
  EXPECT_TRUE(RunWhole(**renamed, bert.ids()).equal(RunWhole(*bert.model, bert.ids())));

  const auto qwen = ReferenceModel::Named("qwen3");
  const auto without = Changed(*qwen.weights, [](SourceTensor* tensor, std::vector<float>*) {
    tensor->name = tensor->name.substr(std::string("model.").size());
    return true;
  });
  const auto bare = OpenModel(qwen.config, *without);
  ASSERT_TRUE(bare.ok()) << bare.status().ToString();
  EXPECT_TRUE(RunWhole(**bare, qwen.ids()).equal(RunWhole(*qwen.model, qwen.ids())));
}

TEST(Model, ShortWindowsDoNotFeelTheSlidingWindow) {
  const torch::NoGradGuard no_grad;
  const auto reference = ReferenceModel::Named("mistral");  // slides over 7 positions
  const Tensor ids = reference.ids().narrow(1, 0, 7);
  std::string config = reference.config;
  const std::string field = "\"sliding_window\": 7";
  config.replace(config.find(field), field.size(), "\"sliding_window\": null");
  const auto full = OpenModel(config, *reference.weights);
  ASSERT_TRUE(full.ok());
  EXPECT_LE(LargestDifference(RunWhole(**full, ids), RunWhole(*reference.model, ids)), 1e-6);
  EXPECT_GT(LargestDifference(RunWhole(**full, reference.ids()),
                              RunWhole(*reference.model, reference.ids())),
            1e-3);
}

TEST(Model, MissingOrWrongTensorsAreNamed) {
  const auto reference = ReferenceModel::Named("llama");
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto status_with = [&](const TensorChange& change) {
    const auto source = Changed(*reference.weights, change);
    const auto model = OpenModel(reference.config, *source);
    EXPECT_TRUE(model.ok());
    EXPECT_TRUE((*model)->LoadLayer(0).ok());
    return (*model)->LoadLayer(1).status();
  };
  const Status missing =
      status_with([&](SourceTensor* tensor, std::vector<float>*) { return tensor->name != name; });
  EXPECT_EQ(missing.code(), ErrorCode::kNotFound);
  const Status misshaped = status_with([&](SourceTensor* tensor, std::vector<float>*) {
    if (tensor->name == name) std::swap(tensor->shape[0], tensor->shape[1]);
    return true;
  });
  EXPECT_EQ(misshaped.code(), ErrorCode::kUsage);
  const Status mistyped = status_with([&](SourceTensor* tensor, std::vector<float>*) {
    if (tensor->name == name) tensor->dtype = DType::kI32;
    return true;
  });
  EXPECT_EQ(mistyped.code(), ErrorCode::kUsage);
  for (const Status& status : {missing, misshaped, mistyped}) {
    EXPECT_NE(status.message().find(name), std::string::npos) << status.message();
  }

  const auto headless = Changed(*reference.weights, [](SourceTensor* tensor, std::vector<float>*) {
    return tensor->name != "lm_head.weight";
  });
  EXPECT_EQ(OpenModel(reference.config, *headless).status().code(), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace nwc
