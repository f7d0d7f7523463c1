// Codes a matrix as profile `nwc` (arXiv 2510.11234): column scales and qualities, the analysis
// net, rounding, and feedback of the decoded error in blocks of columns. Needs no LibTorch.
#pragma once

#include <cstdint>
#include <vector>

#include "encoder/neural_model.h"
#include "encoder/worker_pool.h"
#include "format/index.h"
#include "format/neural_chunk.h"
#include "format/status.h"

namespace nwc {

// Columns coded before their errors are fed to those in front of them (the paper's LDLQ blocks).
inline constexpr uint64_t kNeuralFeedbackBlock = 128;

struct NeuralEncodeInput {
  const TensorInfo* tensor = nullptr;  // dtype, rows, columns, tiles; tile_rows holds whole chunks
  ByteSpan elements;                   // rows × columns of the dtype, row-major
  // Second moment H of the layer's inputs, columns × columns, row-major; null: unknown, then every
  // column has quality 0 and nothing is fed back.
  const float* input_moment = nullptr;
  bool feedback = true;   // LDLQ; only with input_moment
  double damping = 0.01;  // of H, in mean diagonals
  // Shares of the columns with the largest diag(H) that get the highest quality, the next, …; the
  // rest has quality 0.
  std::vector<double> quality_shares = {0.001, 0.01, 0.1};
};

struct NeuralEncoding {
  float scale = 1;                // of the tensor
  NeuralSideInfo side;            // scale codes and qualities of the columns
  std::vector<NeuralTile> tiles;  // in grid order
  std::vector<uint8_t> decoded;   // exactly what a decoder gives; the size of `elements`
  double bits = 0;                // of latents and exact chunks by the tables; headers and side not
  double squared_error = 0;       // of the decoded values
  uint64_t exact_chunks = 0;
};

// Chunks whose coding fails are stored exactly: those with a value that is not finite, with latents
// or decoded values out of range, and those whose error is worth more than the bits it would take
// to avoid it. At high rate the trade is d(MSE)/d(bits a weight) = −2 ln 2 · MSE, so a chunk is
// stored exactly when its error beyond that of storing it exceeds 2 ln 2 · expected MSE · extra
// bits.
//
// The result does not depend on the number of threads. kUsage for sizes that do not fit the model
// or each other, and when the damped H is not positive definite. Memory: 4·columns² bytes for the
// feedback, the decoded tensor and 2 bytes a latent.
Result<NeuralEncoding> EncodeNeural(const NeuralModel& model, const NeuralEncodeInput& input,
                                    WorkerPool* pool);

// The quality of each column: by the diagonal of `moment` (columns × columns), ties to the lower
// column; all 0 without one. `shares` as in NeuralEncodeInput; fewer qualities than shares merge
// the highest.
std::vector<uint8_t> ChooseQualities(const float* moment, uint64_t columns,
                                     const std::vector<double>& shares, int qualities);

}  // namespace nwc
