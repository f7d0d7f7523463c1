#include "encoder/models/model.h"

#include "encoder/models/bert.h"
#include "encoder/models/llama.h"
#include "encoder/models/model_config.h"

namespace nwc {

torch::Tensor ObservedLinear(const Layer& layer, const std::string& name, const torch::Tensor& x,
                             const LinearObserver& observer) {
  const std::string weight = name + ".weight";
  const auto bias = layer.parameters.find(name + ".bias");
  const auto factors = layer.row_factors.find(weight);
  torch::Tensor y;
  if (factors != layer.row_factors.end()) {
    y = torch::linear(x, layer.parameters.at(weight)) * factors->second;
    if (bias != layer.parameters.end()) y = y + bias->second;
  } else if (bias != layer.parameters.end()) {
    y = torch::linear(x, layer.parameters.at(weight), bias->second);
  } else {
    y = torch::linear(x, layer.parameters.at(weight));
  }
  if (observer) observer(weight, x, y);
  return y;
}

Result<std::unique_ptr<Model>> OpenModel(const std::string& config, const TensorSource& source) {
  NWC_ASSIGN_OR_RETURN(const ModelConfig parsed, ParseModelConfig(config));
  return parsed.is_encoder() ? OpenBert(parsed, source) : OpenLlama(parsed, source);
}

}  // namespace nwc
