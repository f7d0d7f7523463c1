// Windows of tokens carried through the layers of a model, all windows together, layer by layer.
#pragma once

#include <torch/torch.h>

#include <functional>
#include <string>
#include <vector>

#include "encoder/models/model.h"
#include "encoder/token_windows.h"

namespace nwc {

// Windows of one length that run in one pass.
struct WindowBatch {
  std::vector<size_t> windows;  // ascending positions in TokenWindows
  torch::Tensor ids;            // windows × length, int64
};

// A few thousand tokens a batch. kUsage for windows that are empty or longer than the model takes,
// and for tokens beyond its vocabulary: names window and position.
Result<std::vector<WindowBatch>> MakeBatches(const TokenWindows& windows, const Model& model,
                                             const torch::Device& device);

// Called after each batch in each layer with "layer N" and the steps done; its error ends the run.
using HiddenStep = std::function<Status(const std::string& item, uint64_t done, uint64_t total)>;

// What comes out of the last layer, one tensor a batch (windows × length × hidden), on `device`.
// kCorrupt, naming the layer, when a number is not finite.
Result<std::vector<torch::Tensor>> RunLayers(const Model& model,
                                             const std::vector<WindowBatch>& batches,
                                             const torch::Device& device, const HiddenStep& step);

// Moves tensors of a model or a layer.
void MoveTo(const torch::Device& device, std::map<std::string, torch::Tensor>* parameters);

}  // namespace nwc
