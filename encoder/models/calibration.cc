#include "encoder/calibration.h"

#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "encoder/models/activation_store.h"
#include "encoder/models/device.h"
#include "encoder/models/hidden_states.h"
#include "encoder/models/model.h"
#include "encoder/models/torch_errors.h"

namespace nwc {
namespace {

using torch::Tensor;

constexpr int64_t kGroupTokens = 512;  // shorter windows are taken together, as the gradients
                                       // of windows are independent,
constexpr int64_t kLeastGroups = 64;   // but not into fewer groups than these
constexpr double kDamping = 0.01;      // of what is inverted, in mean diagonals

// A second moment and the inverse of it, damped.
struct Inverted {
  Tensor inverse;
  double size = 0;  // trace of moment · inverse: mean of zᵀ·inverse·z over what the moment is of
};

Inverted Invert(const Tensor& moment) {
  Tensor damped = moment.to(torch::kFloat64).clone();
  damped.diagonal().add_(kDamping * damped.diagonal().mean());
  const Tensor inverse =
      torch::cholesky_inverse(torch::linalg_cholesky(damped)).to(torch::kFloat32);
  return {inverse, (inverse * moment).sum(torch::kFloat64).item<double>()};
}

// Sums over all tokens of one linear layer.
struct Moments {
  std::string input_of;
  Tensor input;     // x xᵀ, inputs × inputs; undefined when shared
  Tensor weighted;  // ‖g‖² x xᵀ: of tokens taken as independent
  Tensor output;    // g gᵀ, outputs × outputs: likewise
  // Of the gradient G = Σ_t g_t x_tᵀ of whole windows: G H⁻¹ Gᵀ and Gᵀ O⁻¹ G with H and O from the
  // two above. Undefined when no gradient was seen.
  Tensor rows, columns;
  Inverted inverse_input, inverse_output;
};

// Watches the linear layers of one layer of the model, in two passes over all windows: the first
// takes tokens as independent, which gives what the second starts from.
class MomentCollector {
 public:
  [[nodiscard]] LinearObserver Observer() {
    return [this](const std::string& weight, const Tensor& x, const Tensor& y) {
      if (second_) {
        ObserveWindows(weight, x, y);
      } else {
        ObserveTokens(weight, x, y);
      }
    };
  }

  // Forgets which input it saw last: a new forward pass begins.
  void BeginPass() { last_input_.reset(); }

  // `windows`: of all batches.
  void BeginSecond(double tokens, int64_t windows) {
    second_ = true;
    most_together_ = std::max<int64_t>(1, windows / kLeastGroups);
    for (auto& [weight, m] : moments_) {
      const double power = m.output.trace().item<double>();
      if (power <= 0) continue;
      m.inverse_input = Invert(m.weighted / power);
      m.inverse_output = Invert(m.output / tokens);
    }
  }

  [[nodiscard]] const std::map<std::string, Moments>& moments() const { return moments_; }

 private:
  void ObserveTokens(const std::string& weight, const Tensor& x, const Tensor& y) {
    Moments& m = moments_[weight];
    // Layers that share an input (query, key, value) run one after the other.
    if (last_input_.defined() && last_input_.is_same(x)) {
      m.input_of = last_owner_;
    } else {
      last_input_ = x;
      last_owner_ = weight;
      const Tensor rows = x.detach().flatten(0, -2);
      Add(rows.t().mm(rows), &m.input);
    }
    y.register_hook([&m, rows = x.detach().flatten(0, -2)](const Tensor& gradient) {
      const Tensor g = gradient.flatten(0, -2);
      Add(g.t().mm(g), &m.output);
      Add(rows.t().mm(rows * g.square().sum(1, /*keepdim=*/true)), &m.weighted);
    });
  }

  void ObserveWindows(const std::string& weight, const Tensor& x, const Tensor& y) {
    Moments& m = moments_[weight];
    if (!m.inverse_input.inverse.defined()) return;
    y.register_hook([this, &m, x = x.detach()](const Tensor& gradient) {
      const int64_t windows = gradient.size(0);
      const int64_t together =
          std::clamp<int64_t>(kGroupTokens / gradient.size(1), 1, most_together_);
      for (int64_t begin = 0; begin < windows; begin += together) {
        const int64_t count = std::min(together, windows - begin);
        const Tensor g = gradient.narrow(0, begin, count).flatten(0, 1);
        const Tensor whole = g.t().mm(x.narrow(0, begin, count).flatten(0, 1));
        Add(whole.mm(m.inverse_input.inverse).mm(whole.t()), &m.rows);
        Add(whole.t().mm(m.inverse_output.inverse.mm(whole)), &m.columns);
      }
    });
  }

  static void Add(const Tensor& term, Tensor* sum) {
    *sum = sum->defined() ? sum->add_(term) : term;
  }

  std::map<std::string, Moments> moments_;  // addresses of values stay
  Tensor last_input_;
  std::string last_owner_;
  bool second_ = false;
  int64_t most_together_ = 1;
};

class Calibration {
 public:
  Calibration(const CalibrationOptions& options, const EvaluationCallback& progress,
              const std::atomic<bool>* cancel, torch::Device device)
      : options_(options), progress_(progress), cancel_(cancel), device_(device) {}

  Status Run(const std::string& config, const TensorSource& source, const TokenWindows& windows,
             const CalibrationSink& sink) {
    NWC_ASSIGN_OR_RETURN(model_, OpenModel(config, source));
    MoveTo(device_, &model_->parameters);
    NWC_ASSIGN_OR_RETURN(batches_, MakeBatches(windows, *model_, device_));
    for (const WindowBatch& b : batches_) {
      tokens_ += static_cast<double>(b.ids.numel());
      windows_ += b.ids.size(0);
    }
    NWC_RETURN_IF_ERROR(RunForward());
    NWC_RETURN_IF_ERROR(StartGradients());
    for (int layer = model_->layer_count(); layer-- > 0;) {
      NWC_RETURN_IF_ERROR(RunBackward(layer, sink));
    }
    return {};
  }

 private:
  Status Tell(const char* stage, const std::string& item, uint64_t done, uint64_t total) {
    if (cancel_ != nullptr && *cancel_) return Status(ErrorCode::kCancelled, "stopped");
    if (progress_) progress_({stage, item, done, total});
    return {};
  }

  [[nodiscard]] size_t Slot(int layer, size_t batch) const {
    return static_cast<size_t>(layer) * batches_.size() + batch;
  }

  Status RunForward() {
    const torch::NoGradGuard no_gradients;
    const auto layers = static_cast<uint64_t>(model_->layer_count());
    std::vector<Tensor> hidden;
    uint64_t bytes = 0;
    for (const WindowBatch& batch : batches_) {
      hidden.push_back(model_->Embed(batch.ids));
      bytes += hidden.back().nbytes() * layers;
    }
    NWC_ASSIGN_OR_RETURN(store_, ActivationStore::Create(layers * batches_.size(), bytes));
    uint64_t done = 0;
    for (int l = 0; l < model_->layer_count(); ++l) {
      NWC_ASSIGN_OR_RETURN(const auto layer, Load(l));
      for (size_t b = 0; b < batches_.size(); ++b) {
        NWC_RETURN_IF_ERROR(store_.Keep(Slot(l, b), hidden[b]));
        hidden[b] = layer->Forward(hidden[b], {});
        NWC_RETURN_IF_ERROR(CheckFinite(hidden[b], "activations of layer " + std::to_string(l)));
        NWC_RETURN_IF_ERROR(Tell("calibration, forward", "layer " + std::to_string(l), ++done,
                                 layers * batches_.size()));
      }
    }
    hidden_ = std::move(hidden);
    return {};
  }

  Result<std::unique_ptr<Layer>> Load(int l) {
    NWC_ASSIGN_OR_RETURN(auto layer, model_->LoadLayer(l));
    MoveTo(device_, &layer->parameters);
    return layer;
  }

  static Status CheckFinite(const Tensor& values, const std::string& what) {
    if (values.isfinite().all().item<bool>()) return {};
    return Status(ErrorCode::kCorrupt, what +
                                           " are not finite; the model's weights may hold NaN or "
                                           "infinities");
  }

  // hidden_ turns from what leaves the last layer into the loss's gradient on it. A window at a
  // time: logits are large.
  Status StartGradients() {
    auto generator = torch::make_generator<at::CPUGeneratorImpl>(options_.seed);
    uint64_t done = 0;
    for (size_t b = 0; b < batches_.size(); ++b) {
      Tensor gradient = torch::empty_like(hidden_[b]);
      for (int64_t w = 0; w < hidden_[b].size(0); ++w) {
        Tensor hidden = hidden_[b].narrow(0, w, 1).detach().requires_grad_(true);
        Loss(hidden, generator).backward();
        gradient.narrow(0, w, 1).copy_(hidden.grad());
      }
      hidden_[b] = gradient;
      NWC_RETURN_IF_ERROR(CheckFinite(gradient, "gradients of the loss"));
      NWC_RETURN_IF_ERROR(
          Tell("calibration, loss", "batch " + std::to_string(b), ++done, batches_.size()));
    }
    return {};
  }

  Tensor Loss(const Tensor& hidden, at::Generator& generator) const {
    const Tensor out = model_->Head(hidden);
    if (model_->is_encoder()) {
      return (out * torch::randn(out.sizes(), generator).to(device_)).sum();
    }
    const Tensor logits = out.flatten(0, 1);
    return torch::nn::functional::cross_entropy(
        logits, DrawLabels(logits.detach(), generator),
        torch::nn::functional::CrossEntropyFuncOptions().reduction(torch::kSum));
  }

  // A token for each row of logits, of the probability that the model gives it: where a uniform
  // number falls among the sums of probabilities. (torch::multinomial takes a second for a window
  // of 1024 tokens and 49,152 words, whatever the machine.)
  [[nodiscard]] Tensor DrawLabels(const Tensor& logits, at::Generator& generator) const {
    const torch::NoGradGuard no_gradients;
    const Tensor sums = logits.softmax(-1).cumsum(-1);
    const Tensor uniform = torch::rand({logits.size(0), 1}, generator).to(device_);
    const Tensor labels = torch::searchsorted(sums, uniform * sums.narrow(1, -1, 1),
                                              /*out_int32=*/false, /*right=*/true);
    return labels.squeeze(1).clamp_max(logits.size(1) - 1);
  }

  Status RunBackward(int l, const CalibrationSink& sink) {
    NWC_ASSIGN_OR_RETURN(const auto layer, Load(l));
    MomentCollector collector;
    const LinearObserver observer = collector.Observer();
    const auto total = 2 * static_cast<uint64_t>(model_->layer_count()) * batches_.size();
    uint64_t done = total - 2 * static_cast<uint64_t>(l + 1) * batches_.size();
    for (const bool second : {false, true}) {
      if (second) collector.BeginSecond(tokens_, windows_);
      for (size_t b = 0; b < batches_.size(); ++b) {
        NWC_ASSIGN_OR_RETURN(const Tensor kept, store_.Get(Slot(l, b)));
        Tensor input = kept.to(device_).detach().requires_grad_(true);
        collector.BeginPass();
        layer->Forward(input, observer).backward(hidden_[b]);
        if (second) {
          hidden_[b] = input.grad();
          store_.Drop(Slot(l, b));
        }
        NWC_RETURN_IF_ERROR(
            Tell("calibration, backward", "layer " + std::to_string(l), ++done, total));
      }
    }
    return Give(l, collector, sink);
  }

  // Gᵀ O⁻¹ G at the scale of H, so that O, at that of G H⁻¹ Gᵀ, goes with it.
  static Tensor Weighted(const Moments& m) {
    const double scale = (m.inverse_input.inverse * m.columns).sum(torch::kFloat64).item<double>() /
                         m.inverse_input.size;
    return m.columns / scale;
  }

  Status Give(int l, const MomentCollector& collector, const CalibrationSink& sink) const {
    for (const auto& [weight, m] : collector.moments()) {
      CalibratedLinear linear;
      linear.weight = weight;
      linear.input_of = m.input_of;
      Tensor input, weighted, output = m.output;
      if (m.rows.defined()) {
        output = m.rows / m.inverse_input.size;
        weighted = Weighted(m).cpu().contiguous();
        linear.weighted_moment = {weighted.data_ptr<float>(),
                                  static_cast<size_t>(weighted.numel())};
        NWC_RETURN_IF_ERROR(CheckFinite(weighted, "weighted moments of '" + weight + "'"));
      }
      output = (output / tokens_).cpu().contiguous();
      if (m.input.defined()) {
        input = (m.input / tokens_).cpu().contiguous();
        linear.input_moment = {input.data_ptr<float>(), static_cast<size_t>(input.numel())};
      }
      const Tensor& shape = m.input.defined() ? m.input : collector.moments().at(m.input_of).input;
      linear.inputs = static_cast<uint64_t>(shape.size(0));
      linear.outputs = static_cast<uint64_t>(output.size(0));
      linear.output_moment = {output.data_ptr<float>(), static_cast<size_t>(output.numel())};
      const std::string where = "moments of '" + weight + "' (layer " + std::to_string(l) + ")";
      if (input.defined()) NWC_RETURN_IF_ERROR(CheckFinite(input, where));
      NWC_RETURN_IF_ERROR(CheckFinite(output, where));
      NWC_RETURN_IF_ERROR(sink(linear));
    }
    return {};
  }

  const CalibrationOptions& options_;
  const EvaluationCallback& progress_;
  const std::atomic<bool>* cancel_;
  const torch::Device device_;
  std::unique_ptr<Model> model_;
  std::vector<WindowBatch> batches_;
  std::vector<Tensor> hidden_;  // one a batch: hidden states, on the way back their gradients
  ActivationStore store_;
  double tokens_ = 0;
  int64_t windows_ = 0;
};

}  // namespace

Status Calibrate(const std::string& config, const TensorSource& source, const TokenWindows& windows,
                 const CalibrationOptions& options, const CalibrationSink& sink,
                 const EvaluationCallback& progress, const std::atomic<bool>* cancel) {
  return CatchTorchErrors([&]() -> Status {
    const ThreadScope threads(options.threads);
    NWC_ASSIGN_OR_RETURN(const torch::Device device, OpenDevice(options.device));
    return Calibration(options, progress, cancel, device).Run(config, source, windows, sink);
  });
}

}  // namespace nwc
