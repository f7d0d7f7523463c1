// Forward passes of the Llama family: Llama (arXiv 2302.13971), Mistral, Qwen2 and Qwen3. RMSNorm
// before each half of a layer, rotary positions, grouped queries, SwiGLU.
#pragma once

#include <memory>

#include "encoder/models/model.h"
#include "encoder/models/model_config.h"

namespace nwc {

// `config` is not an encoder's; `source` must outlive the model.
Result<std::unique_ptr<Model>> OpenLlama(const ModelConfig& config, const TensorSource& source);

}  // namespace nwc
