#include "tools/layer_kinds.h"

#include <algorithm>
#include <optional>

#include "tools/model_totals.h"

namespace nwc {
namespace {

constexpr std::string_view kWeight = ".weight";

bool IsNumber(std::string_view part) {
  return !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
}

void Add(const TensorInfo& t, GridCell* cell) {
  ++cell->tensors;
  cell->weights += t.weights();
  cell->bytes += TensorBytes(t);
  cell->lossy = cell->lossy || IsLossy(t);
}

// Where the kinds of a model stand: in layers before outside, lossy before lossless, then as in
// the file.
struct KindOrder {
  bool outside = true, lossless = true;
  size_t first = 0;
  auto operator<=>(const KindOrder&) const = default;
};

std::vector<std::string> OrderKinds(const std::vector<TensorInfo>& tensors) {
  std::map<std::string, KindOrder> orders;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto [found, is_new] = orders.try_emplace(TensorKind(tensors[i].name));
    KindOrder& order = found->second;
    if (is_new) order.first = i;
    order.outside = order.outside && !LayerNumber(tensors[i].name);
    order.lossless = order.lossless && !IsLossy(tensors[i]);
  }
  std::vector<std::string> kinds;
  kinds.reserve(orders.size());
  for (const auto& [kind, order] : orders) kinds.push_back(kind);
  std::sort(kinds.begin(), kinds.end(),
            [&](const auto& a, const auto& b) { return orders.at(a) < orders.at(b); });
  return kinds;
}

// Positions by layer; without a layer: 0.
std::map<std::optional<uint64_t>, size_t> NumberLayers(const std::vector<TensorInfo>& tensors) {
  std::map<std::optional<uint64_t>, size_t> positions;
  for (const TensorInfo& t : tensors) positions[LayerNumber(t.name)] = 0;
  size_t next = 0;
  for (auto& [layer, position] : positions) position = next++;
  return positions;
}

}  // namespace

std::string TensorKind(std::string_view name) {
  if (name.size() > kWeight.size() && name.ends_with(kWeight)) name.remove_suffix(kWeight.size());
  std::string kind, before;
  bool in_layer = false;
  while (true) {
    const size_t dot = name.find('.');
    const std::string_view part = name.substr(0, dot);
    if (!in_layer && IsNumber(part)) {
      in_layer = true;
      before = std::move(kind);
      kind.clear();
    } else {
      kind += (kind.empty() ? "" : ".") + (IsNumber(part) ? "*" : std::string(part));
    }
    if (dot == std::string_view::npos) break;
    name.remove_prefix(dot + 1);
  }
  if (!kind.empty()) return kind;
  return before.empty() ? "*" : before;
}

bool IsLossy(const TensorInfo& tensor) {
  return tensor.stream.has_value() || tensor.neural.has_value() || !tensor.supported();
}

BitsGrid MakeBitsGrid(const std::vector<TensorInfo>& tensors) {
  BitsGrid grid;
  grid.kinds = OrderKinds(tensors);
  std::map<std::string, size_t> rows;
  for (size_t i = 0; i < grid.kinds.size(); ++i) {
    rows[grid.kinds[i]] = std::min(i, kMostGridKinds - 1);
  }
  if (grid.kinds.size() > kMostGridKinds) {
    const size_t others = grid.kinds.size() - kMostGridKinds + 1;
    grid.kinds.resize(kMostGridKinds - 1);
    grid.kinds.push_back(std::to_string(others) + " other kinds");
  }
  const auto columns = NumberLayers(tensors);
  for (const auto& [layer, position] : columns) {
    if (position >= kMostGridLayers) break;
    grid.layers.push_back(layer ? std::to_string(*layer) : "-");
  }
  grid.layers_left_out = columns.size() - grid.layers.size();
  grid.cells.assign(grid.kinds.size(), std::vector<GridCell>(grid.layers.size()));
  grid.of_kind.resize(grid.kinds.size());
  grid.of_layer.resize(grid.layers.size());
  for (const TensorInfo& t : tensors) {
    const size_t row = rows.at(TensorKind(t.name)), column = columns.at(LayerNumber(t.name));
    Add(t, &grid.of_kind[row]);
    if (column >= grid.layers.size()) continue;
    Add(t, &grid.of_layer[column]);
    Add(t, &grid.cells[row][column]);
  }
  return grid;
}

}  // namespace nwc
