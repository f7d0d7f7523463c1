#include "encoder/models/hidden_states.h"

#include <algorithm>
#include <map>

namespace nwc {
namespace {

constexpr size_t kBatchTokens = 2048;

std::string Where(size_t window) { return "window " + std::to_string(window); }

Status CheckWindow(size_t number, std::span<const int32_t> ids, const Model& model) {
  if (ids.empty()) return Status(ErrorCode::kUsage, Where(number) + " is empty");
  if (ids.size() > static_cast<size_t>(model.max_length())) {
    return Status(ErrorCode::kUsage, Where(number) + " has " + std::to_string(ids.size()) +
                                         " tokens, but the model takes at most " +
                                         std::to_string(model.max_length()));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] >= 0 && ids[i] < model.vocabulary_size()) continue;
    return Status(ErrorCode::kUsage, Where(number) + ", position " + std::to_string(i) +
                                         ": token " + std::to_string(ids[i]) +
                                         ", but the model's vocabulary has " +
                                         std::to_string(model.vocabulary_size()) +
                                         "; the tokens are of another model");
  }
  return {};
}

WindowBatch BatchOf(const TokenWindows& windows, std::vector<size_t> chosen,
                    const torch::Device& device) {
  const auto length = static_cast<int64_t>(windows.Window(chosen.front()).size());
  torch::Tensor ids = torch::empty({static_cast<int64_t>(chosen.size()), length}, torch::kInt64);
  auto* out = ids.data_ptr<int64_t>();
  for (const size_t window : chosen) {
    const auto tokens = windows.Window(window);
    out = std::copy(tokens.begin(), tokens.end(), out);
  }
  return {std::move(chosen), ids.to(device)};
}

Status CheckFinite(const torch::Tensor& hidden, const WindowBatch& batch,
                   const std::string& where) {
  const torch::Tensor finite = hidden.isfinite().flatten(1).all(1).cpu();
  const auto* good = finite.data_ptr<bool>();
  for (size_t i = 0; i < batch.windows.size(); ++i) {
    if (good[i]) continue;
    return Status(ErrorCode::kCorrupt, where + " gives numbers that are not finite in " +
                                           Where(batch.windows[i]) +
                                           "; its weights may hold NaN or infinities");
  }
  return {};
}

}  // namespace

Result<std::vector<WindowBatch>> MakeBatches(const TokenWindows& windows, const Model& model,
                                             const torch::Device& device) {
  if (windows.windows == 0) return Status(ErrorCode::kUsage, "no windows of tokens");
  std::map<size_t, std::vector<size_t>> by_length;
  for (size_t i = 0; i < windows.windows; ++i) {
    const auto ids = windows.Window(i);
    NWC_RETURN_IF_ERROR(CheckWindow(i, ids, model));
    by_length[ids.size()].push_back(i);
  }
  std::vector<WindowBatch> batches;
  for (const auto& [length, numbers] : by_length) {
    const size_t most = std::max<size_t>(1, kBatchTokens / length);
    for (size_t begin = 0; begin < numbers.size(); begin += most) {
      const size_t end = std::min(begin + most, numbers.size());
      batches.push_back(BatchOf(windows,
                                {numbers.begin() + static_cast<std::ptrdiff_t>(begin),
                                 numbers.begin() + static_cast<std::ptrdiff_t>(end)},
                                device));
    }
  }
  return batches;
}

Result<std::vector<torch::Tensor>> RunLayers(const Model& model,
                                             const std::vector<WindowBatch>& batches,
                                             const torch::Device& device, const HiddenStep& step) {
  std::vector<torch::Tensor> hidden;
  for (const WindowBatch& batch : batches) {
    hidden.push_back(model.Embed(batch.ids));
    NWC_RETURN_IF_ERROR(CheckFinite(hidden.back(), batch, "the embedding"));
  }
  const auto layers = static_cast<uint64_t>(model.layer_count());
  uint64_t done = 0;
  for (int i = 0; i < model.layer_count(); ++i) {
    const std::string item = "layer " + std::to_string(i);
    NWC_ASSIGN_OR_RETURN(const std::unique_ptr<Layer> layer, model.LoadLayer(i));
    MoveTo(device, &layer->parameters);
    for (size_t b = 0; b < batches.size(); ++b) {
      hidden[b] = layer->Forward(hidden[b], {});
      NWC_RETURN_IF_ERROR(CheckFinite(hidden[b], batches[b], item));
      NWC_RETURN_IF_ERROR(step(item, ++done, layers * batches.size()));
    }
  }
  return hidden;
}

void MoveTo(const torch::Device& device, std::map<std::string, torch::Tensor>* parameters) {
  for (auto& [name, tensor] : *parameters) tensor = tensor.to(device);
}

}  // namespace nwc
