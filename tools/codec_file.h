// Codec files: a trained codec of profile `nwc` as a .safetensors file. Tensors `analysis.*` and
// `synthesis.*` are the nets (F16), `tables.*` the entropy tables, `expected_mse` what each quality
// achieves; `__metadata__` holds the name and a JSON report of the training.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "encoder/neural_model.h"
#include "format/status.h"

namespace nwc {

struct CodecFile {
  NeuralModel model;     // its name in model.synthesis.name
  std::string training;  // a JSON object: options, report, validation curve; informative
};

// The whole file; equal values give equal bytes. The parameters are binary16 values.
std::vector<uint8_t> SerializeCodecFile(const CodecFile& codec);

// kCorrupt, naming the tensor, when a tensor is missing or its shape or values do not fit the
// others; the errors of Checkpoint::Open otherwise.
Result<CodecFile> ReadCodecFile(const std::string& path);

}  // namespace nwc
