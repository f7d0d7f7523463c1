// Forward pass of BERT encoders (arXiv 1810.04805) as sentence encoders use them: layer norm after
// each half of a layer, absolute positions, token type 0, mean pooling (arXiv 1908.10084).
#pragma once

#include <memory>

#include "encoder/models/model.h"
#include "encoder/models/model_config.h"

namespace nwc {

// `config` is an encoder's; `source` must outlive the model. The pooler and heads for other tasks
// are not read.
Result<std::unique_ptr<Model>> OpenBert(const ModelConfig& config, const TensorSource& source);

}  // namespace nwc
