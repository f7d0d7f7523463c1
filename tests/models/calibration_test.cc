#include "encoder/calibration.h"

#include <cmath>
#include <limits>
#include <map>

#include "tests/models/reference_models.h"

namespace nwc {
namespace {

using torch::Tensor;

struct Kept {
  std::string input_of;
  uint64_t inputs = 0, outputs = 0;
  std::vector<float> input, weighted, output;
};
using Statistics = std::map<std::string, Kept>;

Status Collect(const std::string& config, const TensorSource& source, const TokenWindows& windows,
               uint64_t seed, Statistics* statistics) {
  const CalibrationOptions options{.seed = seed, .threads = 1, .device = Device::kCpu};
  return Calibrate(config, source, windows, options, [&](const CalibratedLinear& linear) -> Status {
    Kept& k = (*statistics)[linear.weight];
    k.input_of = linear.input_of;
    k.inputs = linear.inputs;
    k.outputs = linear.outputs;
    k.input.assign(linear.input_moment.begin(), linear.input_moment.end());
    k.weighted.assign(linear.weighted_moment.begin(), linear.weighted_moment.end());
    k.output.assign(linear.output_moment.begin(), linear.output_moment.end());
    return {};
  });
}

Statistics Calibrated(const ReferenceModel& model, const TokenWindows& windows, uint64_t seed = 1) {
  Statistics statistics;
  const Status status = Collect(model.config, *model.weights, windows, seed, &statistics);
  EXPECT_TRUE(status.ok()) << status.ToString();
  return statistics;
}

TEST(Calibrate, InputMomentIsTheMeanOverAllTokens) {
  for (const char* name : {"llama", "qwen2", "bert"}) {
    const ReferenceModel model = ReferenceModel::Named(name);
    const Statistics statistics = Calibrated(model, WindowsOf(model.ids()));
    std::map<std::string, Tensor> direct;
    Tensor hidden = model.model->Embed(model.ids());
    for (int l = 0; l < model.model->layer_count(); ++l) {
      const auto layer = model.model->LoadLayer(l);
      ASSERT_TRUE(layer.ok());
      hidden =
          (*layer)->Forward(hidden, [&](const std::string& weight, const Tensor& x, const Tensor&) {
            const Tensor rows = x.flatten(0, -2).to(torch::kFloat64);
            direct[weight] = rows.t().mm(rows) / rows.size(0);
          });
    }
    EXPECT_EQ(statistics.size(), direct.size());
    for (const auto& [weight, k] : statistics) {
      const Kept& owner = k.input_of.empty() ? k : statistics.at(k.input_of);
      const Tensor h = torch::tensor(owner.input).view({static_cast<int64_t>(k.inputs), -1});
      const double scale = direct[weight].abs().max().item<double>();
      EXPECT_LT((h - direct[weight]).abs().max().item<double>(), 1e-5 * scale) << name << weight;
    }
  }
}

TEST(Calibrate, LayersWithOneInputShareItsMoment) {
  const ReferenceModel model = ReferenceModel::Named("llama");
  const Statistics s = Calibrated(model, WindowsOf(model.ids()));
  EXPECT_EQ(s.at("model.layers.0.self_attn.k_proj.weight").input_of,
            "model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(s.at("model.layers.1.mlp.up_proj.weight").input_of,
            "model.layers.1.mlp.gate_proj.weight");
  EXPECT_TRUE(s.at("model.layers.1.mlp.down_proj.weight").input_of.empty());
}

// ln p of every token after a window of one, with `add` added to one weight.
Tensor LogProbabilities(const ReferenceModel& model, const std::string& weight, size_t at,
                        float add, const Tensor& ids) {
  const auto changed = Changed(*model.weights, [&](SourceTensor* t, std::vector<float>* values) {
    if (t->name == weight) (*values)[at] += add;
    return true;
  });
  const auto opened = OpenModel(model.config, *changed);
  EXPECT_TRUE(opened.ok());
  return RunWhole(**opened, ids).flatten().to(torch::kFloat64).log_softmax(0);
}

// For a window of one token, dL/dW_ji = g_j x_i, so O_jj H_ii averaged over labels drawn is the
// Fisher information of W_ji, Σ_label p · (d ln p / dW_ji)², which finite differences give.
TEST(Calibrate, MomentsGiveTheFisherInformationOfFiniteDifferences) {
  const ReferenceModel model = ReferenceModel::Named("llama");
  const Tensor ids = model.ids().narrow(0, 0, 1).narrow(1, 3, 1).contiguous();
  const TokenWindows windows = WindowsOf(ids);
  const std::string weight = "model.layers.1.mlp.down_proj.weight";
  constexpr int kSeeds = 600;
  std::vector<double> output;
  Kept last;
  for (int seed = 0; seed < kSeeds; ++seed) {
    last = Calibrated(model, windows, static_cast<uint64_t>(seed)).at(weight);
    ASSERT_EQ(last.output.size(), last.outputs * last.outputs);
    output.resize(last.outputs);
    for (size_t j = 0; j < output.size(); ++j) {
      output[j] += static_cast<double>(last.output[j * (last.outputs + 1)]) / kSeeds;
    }
  }
  double moments = 0, differences = 0;
  for (size_t j = 0; j < 4; ++j) {
    const size_t i = 5 + j;
    const float step = 2e-2f;
    const Tensor up = LogProbabilities(model, weight, j * last.inputs + i, step, ids);
    const Tensor down = LogProbabilities(model, weight, j * last.inputs + i, -step, ids);
    const Tensor p = ((up + down) / 2).exp();
    const double h = static_cast<double>(last.input[i * last.inputs + i]);
    differences +=
        (p * ((up - down) / (2 * static_cast<double>(step))).square()).sum().item<double>() / h;
    moments += output[j];
  }
  EXPECT_NEAR(moments / differences, 1, 0.1);
}

TEST(Calibrate, WeightedMomentIsAMeanOverTokens) {
  const ReferenceModel model = ReferenceModel::Named("llama");
  const std::string weight = "model.layers.1.mlp.down_proj.weight";
  const auto gap = [&](int64_t tokens) {
    const Tensor ids = model.ids().narrow(0, 0, 1).narrow(1, 3, tokens).contiguous();
    const Kept k = Calibrated(model, WindowsOf(ids)).at(weight);
    const Tensor plain = torch::tensor(k.input), weighted = torch::tensor(k.weighted);
    return ((weighted - plain).norm() / plain.norm()).item<double>();
  };
  EXPECT_LT(gap(1), 1e-3);  // of one token both are xxᵀ, but for the damping
  EXPECT_GT(gap(8), 1e-2);
}

TEST(Calibrate, SameSeedSameStatistics) {
  const ReferenceModel model = ReferenceModel::Named("qwen3");
  const TokenWindows windows = WindowsOf(model.ids());
  const std::string weight = "model.layers.0.mlp.gate_proj.weight";
  EXPECT_EQ(Calibrated(model, windows, 5).at(weight).output,
            Calibrated(model, windows, 5).at(weight).output);
  EXPECT_NE(Calibrated(model, windows, 5).at(weight).output,
            Calibrated(model, windows, 6).at(weight).output);
}

TEST(Calibrate, NamesTheLayerWhoseActivationsAreNotFinite) {
  const ReferenceModel model = ReferenceModel::Named("llama");
  const auto spoiled = Changed(*model.weights, [&](SourceTensor* t, std::vector<float>* values) {
    if (t->name == "model.layers.1.mlp.up_proj.weight") {
      (*values)[0] = std::numeric_limits<float>::quiet_NaN();
    }
    return true;
  });
  Statistics statistics;
  const Status status = Collect(model.config, *spoiled, WindowsOf(model.ids()), 1, &statistics);
  EXPECT_EQ(status.code(), ErrorCode::kCorrupt);
  EXPECT_NE(status.message().find("layer 1"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace nwc
