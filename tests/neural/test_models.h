// Weights and a codec trained on them in seconds, for tests.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/neural_training.h"
#include "tests/encoder/memory_checkpoint.h"

namespace nwc {

// Independent normal values of unit variance times `scale`.
std::vector<float> GaussianValues(size_t count, uint32_t seed, float scale = 1);

std::vector<uint8_t> ToElements(DType dtype, const std::vector<float>& values);

// One linear tensor of Gaussian weights, F32, 512 × 512.
MemoryCheckpoint GaussianCheckpoint();

// Small and quick: chunks of 4, width 16, two blocks, a few hundred steps.
NeuralTrainingOptions QuickOptions();

// Trained once in a process with QuickOptions on GaussianCheckpoint.
const NeuralTrainingResult& QuickTraining();

}  // namespace nwc
