#include "loader/layer_order.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

namespace nwc {
namespace {

// Parts of the names of input embeddings, and of output embeddings that hold one of them.
constexpr const char* kEmbeddings[] = {"embed", "embd", "wte.", "wpe."};
constexpr const char* kHeads[] = {"embed_out", "unembed", "lm_head"};

template <size_t kCount>
bool HoldsOneOf(const std::string& name, const char* const (&parts)[kCount]) {
  return std::any_of(std::begin(parts), std::end(parts),
                     [&](const char* part) { return name.find(part) != std::string::npos; });
}

// (group, layer).
std::pair<int, uint64_t> PositionInModel(const std::string& name) {
  if (const auto layer = LayerNumber(name)) return {1, *layer};
  return {HoldsOneOf(name, kEmbeddings) && !HoldsOneOf(name, kHeads) ? 0 : 2, 0};
}

}  // namespace

std::vector<size_t> LayerOrder(const Index& index) {
  std::vector<std::pair<int, uint64_t>> positions;
  positions.reserve(index.tensors.size());
  for (const TensorInfo& tensor : index.tensors) positions.push_back(PositionInModel(tensor.name));
  std::vector<size_t> order(index.tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return positions[a] < positions[b]; });
  return order;
}

}  // namespace nwc
