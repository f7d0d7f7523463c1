// Which slice of a tensor a rank of a tensor-parallel group holds (Shoeybi et al., "Megatron-LM:
// Training Multi-Billion Parameter Language Models Using Model Parallelism", arXiv 1909.08053,
// section 3). Pure.
//
//   NWC_ASSIGN_OR_RETURN(const ParallelKind kind, ParallelKindOf(info.name));
//   NWC_ASSIGN_OR_RETURN(const TensorSlice slice, SliceOf(info, {rank, world}, kind));
//
// Weights are those of PyTorch's Linear, outputs × inputs. GPT-2's Conv1D stores inputs × outputs:
// its callers swap kColumn and kRow. With fewer key and value heads than ranks, k_proj and v_proj
// are not to be cut evenly but shared: the caller makes that slice itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "format/index.h"
#include "format/status.h"
#include "loader/tensor_slice.h"

namespace nwc {

struct TensorParallel {
  size_t rank = 0;
  size_t world = 1;  // ranks
};

enum class ParallelKind : uint8_t {
  kReplicated,  // every rank has all of it
  kColumn,      // outputs are split: rows of a weight, elements of a bias
  kRow,         // inputs are split: columns of a weight
  kVocabulary,  // rows are split; the last rank has fewer where they do not divide
};

// By the name a tensor has in Hugging Face checkpoints: its module, and .weight or .bias. Names
// that are not known, norms and biases of row-parallel layers are kReplicated. kUnsupported for
// layers that hold several in one (qkv_proj, c_attn, gate_up_proj, query_key_value): evenly cut
// rows are not a rank's share of those, the caller makes the slices.
Result<ParallelKind> ParallelKindOf(std::string_view name);

// The slice of `parallel.rank`, resolved. kUsage, naming tensor, dimension and world, for a rank
// outside the world, a dimension that the world does not divide or that leaves the rank nothing, or
// inputs of a vector; kUnsupported when the matrix view does not show that dimension.
Result<TensorSlice> SliceOf(const TensorInfo& tensor, const TensorParallel& parallel,
                            ParallelKind kind);

}  // namespace nwc
