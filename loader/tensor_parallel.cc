#include "loader/tensor_parallel.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "format/bytes.h"

namespace nwc {
namespace {

// Modules by the last part of their name: Llama, Mistral, Qwen, Gemma, Phi, DeepSeek, Mixtral, OPT,
// GPT-2, GPT-J, GPT-NeoX, BLOOM, Falcon, BERT, DistilBERT, T5.
constexpr std::string_view kColumnModules[] = {
    "q_proj", "k_proj", "v_proj", "q_b_proj", "kv_b_proj",    "gate_proj", "up_proj",
    "c_fc",   "fc1",    "fc_in",  "query",    "key",          "value",     "q_lin",
    "k_lin",  "v_lin",  "lin1",   "w1",       "w3",           "q",         "k",
    "v",      "wi",     "wi_0",   "wi_1",     "dense_h_to_4h"};
constexpr std::string_view kRowModules[] = {"o_proj", "down_proj", "out_proj", "c_proj",
                                            "fc2",    "fc_out",    "out_lin",  "lin2",
                                            "w2",     "o",         "wo",       "dense_4h_to_h"};
constexpr std::string_view kVocabularyModules[] = {"embed_tokens",   "lm_head",   "wte",
                                                   "embed_in",       "embed_out", "word_embeddings",
                                                   "tok_embeddings", "shared"};
constexpr std::string_view kFusedModules[] = {"qkv_proj",       "c_attn",      "query_key_value",
                                              "gate_up_proj",   "qkv",         "Wqkv",
                                              "in_proj_weight", "in_proj_bias"};
// A module `dense` is what the module around it makes it.
constexpr std::string_view kColumnParents[] = {"intermediate"};
constexpr std::string_view kRowParents[] = {"output", "attention", "self_attention", "self_attn"};

template <size_t kCount>
bool IsOneOf(std::string_view name, const std::string_view (&names)[kCount]) {
  return std::find(std::begin(names), std::end(names), name) != std::end(names);
}

// Cuts the last part off "a.b.c".
std::string_view TakeLast(std::string_view* name) {
  const size_t dot = name->rfind('.');
  const std::string_view last = dot == std::string_view::npos ? *name : name->substr(dot + 1);
  *name = name->substr(0, dot == std::string_view::npos ? 0 : dot);
  return last;
}

ParallelKind KindOfModule(std::string_view module, std::string_view parent) {
  const bool dense = module == "dense";
  if (IsOneOf(module, kColumnModules) || (dense && IsOneOf(parent, kColumnParents))) {
    return ParallelKind::kColumn;
  }
  if (IsOneOf(module, kRowModules) || (dense && IsOneOf(parent, kRowParents))) {
    return ParallelKind::kRow;
  }
  return IsOneOf(module, kVocabularyModules) ? ParallelKind::kVocabulary
                                             : ParallelKind::kReplicated;
}

std::string Where(const TensorInfo& tensor) { return "tensor '" + tensor.name + "'"; }

// One dimension of the tensor along one axis of its matrix view.
struct SplitAxis {
  bool rows = true;  // else columns
  size_t dimension = 0;
  uint64_t size = 0;  // of the dimension
  uint64_t unit = 1;  // rows or columns that an element of the dimension takes
};

Result<SplitAxis> AxisOf(const TensorInfo& tensor, ParallelKind kind) {
  const size_t dimension = kind == ParallelKind::kRow ? 1 : 0;
  if (tensor.shape.size() <= dimension) {
    return Status(ErrorCode::kUsage, Where(tensor) + " has no dimension " +
                                         std::to_string(dimension) + " to split: it has " +
                                         std::to_string(tensor.shape.size()));
  }
  const uint64_t size = tensor.shape[dimension];
  // A vector lies along either axis.
  const bool along_columns = tensor.shape.size() == 1 && tensor.rows == 1;
  if (!along_columns && tensor.rows != tensor.shape[0]) {
    return Status(ErrorCode::kUnsupported, Where(tensor) + " has a matrix view of " +
                                               std::to_string(tensor.rows) +
                                               " rows, which is not its dimension 0 of " +
                                               std::to_string(tensor.shape[0]) + ": load it whole");
  }
  if (along_columns) return SplitAxis{false, dimension, size, 1};
  if (dimension == 0) return SplitAxis{true, dimension, size, 1};
  return SplitAxis{false, dimension, size, tensor.columns / size};
}

}  // namespace

Result<ParallelKind> ParallelKindOf(std::string_view name) {
  std::string_view rest = name;
  std::string_view module = TakeLast(&rest);
  const bool bias = module == "bias";
  if (bias || module == "weight") module = TakeLast(&rest);
  if (IsOneOf(module, kFusedModules)) {
    return Status(ErrorCode::kUnsupported,
                  "tensor '" + std::string(name) + "' holds several layers in one ('" +
                      std::string(module) +
                      "'): how its rows belong to ranks depends on the model; make its slices "
                      "yourself");
  }
  const ParallelKind kind = KindOfModule(module, TakeLast(&rest));
  // Summed outputs get their bias once.
  return bias && kind == ParallelKind::kRow ? ParallelKind::kReplicated : kind;
}

Result<TensorSlice> SliceOf(const TensorInfo& tensor, const TensorParallel& parallel,
                            ParallelKind kind) {
  if (parallel.rank >= parallel.world) {
    return Status(ErrorCode::kUsage, Where(tensor) + ": rank " + std::to_string(parallel.rank) +
                                         " of a world of " + std::to_string(parallel.world));
  }
  TensorSlice slice = WholeSlice(tensor);
  if (kind == ParallelKind::kReplicated || tensor.weights() == 0) return slice;
  NWC_ASSIGN_OR_RETURN(const SplitAxis axis, AxisOf(tensor, kind));
  const std::string dimension = Where(tensor) + ": dimension " + std::to_string(axis.dimension) +
                                " has " + std::to_string(axis.size) + " elements, ";
  const std::string world = "a world of " + std::to_string(parallel.world);
  if (kind != ParallelKind::kVocabulary && axis.size % parallel.world != 0) {
    return Status(ErrorCode::kUsage, dimension + "which " + world +
                                         " does not divide: choose another, or make the slices "
                                         "yourself");
  }
  const uint64_t part = DivideRoundingUp(axis.size, parallel.world);
  const uint64_t begin = std::min<uint64_t>(axis.size, parallel.rank * part);
  const uint64_t end = std::min<uint64_t>(axis.size, begin + part);
  if (begin == end) {
    return Status(ErrorCode::kUsage, dimension + "of which " + world + " leaves none to rank " +
                                         std::to_string(parallel.rank));
  }
  (axis.rows ? slice.row_begin : slice.column_begin) = begin * axis.unit;
  (axis.rows ? slice.row_end : slice.column_end) = end * axis.unit;
  return slice;
}

}  // namespace nwc
