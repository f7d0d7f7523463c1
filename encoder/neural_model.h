// A trained codec of profile `nwc` as the encoder needs it: both nets and what the codec achieves.
#pragma once

#include <vector>

#include "format/neural_codec.h"
#include "format/status.h"

namespace nwc {

struct NeuralModel {
  NeuralCodec synthesis;  // latents → weights, with the entropy tables: what a container carries
  // weights → latents before rounding. The same structure with the roles swapped: its `latents` are
  // the weights of a chunk and its `chunk` the latents. No tables.
  NeuralCodec analysis;
  // For each quality the mean squared error of normalised weights, from the end of the training.
  std::vector<float> expected_mse;
};

// Whether the parts fit each other and the limits of the format. kUsage, saying what does not.
Status CheckNeuralModel(const NeuralModel& model);

}  // namespace nwc
