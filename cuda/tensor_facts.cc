#include "cuda/tensor_facts.h"

#include <algorithm>
#include <numeric>

#include "cuda/decode_jobs.h"
#include "format/synthesis.h"

namespace nwc {
namespace {

// Of every `step` codes.
std::vector<TableReach> ReachOf(std::span<const int16_t> codes, uint64_t step) {
  std::vector<TableReach> reach;
  for (uint64_t begin = 0; begin < codes.size(); begin += step) {
    const auto some = codes.subspan(begin, std::min(step, codes.size() - begin));
    const auto [low, high] = std::minmax_element(some.begin(), some.end());
    const auto sum = std::accumulate(some.begin(), some.end(), int64_t{0});
    reach.push_back({{*low, *high}, static_cast<int>(sum / static_cast<int64_t>(some.size()))});
  }
  return reach;
}

template <typename T>
void Append(const T& value, std::vector<uint8_t>* out) {
  const auto* const bytes = reinterpret_cast<const uint8_t*>(&value);
  out->insert(out->end(), bytes, bytes + sizeof(value));
}

Result<TensorFacts> StreamFacts(const TensorInfo& tensor, ByteSpan side) {
  const StreamInfo& info = *tensor.stream;
  NWC_ASSIGN_OR_RETURN(const SideInfo parsed, ParseSideInfo(side, tensor.rows, tensor.columns,
                                                            info.scale, info.row_gains));
  const std::vector<float> steps = RowSteps(parsed, 0, tensor.rows);
  TensorFacts facts;
  facts.bytes.reserve(FactBytes(tensor));
  for (size_t j = 0; j < steps.size(); ++j) {
    Append(LineFacts{steps[j], parsed.row_table[j]}, &facts.bytes);
  }
  for (size_t i = 0; i < parsed.column_step.size(); ++i) {
    Append(LineFacts{ColumnFactor(info.scale, parsed.column_step[i]), parsed.column_table[i]},
           &facts.bytes);
  }
  facts.row_reach = ReachOf(parsed.row_table, tensor.tile_rows);
  facts.column_reach = ReachOf(parsed.column_table, tensor.tile_columns);
  return facts;
}

Result<TensorFacts> NeuralFacts(const TensorInfo& tensor, ByteSpan side, int qualities) {
  const float scale = tensor.neural->scale;
  NWC_ASSIGN_OR_RETURN(const NeuralSideInfo parsed,
                       ParseNeuralSideInfo(side, tensor.columns, qualities, scale));
  TensorFacts facts;
  facts.bytes.reserve(FactBytes(tensor));
  for (const int16_t code : parsed.column_scale) {
    Append(NeuralColumnFactor(scale, code), &facts.bytes);
  }
  for (const auto quality : parsed.column_quality) {
    facts.bytes.push_back(static_cast<uint8_t>(quality));
  }
  return facts;
}

}  // namespace

uint64_t FactBytes(const TensorInfo& tensor) {
  if (tensor.stream) return sizeof(LineFacts) * (tensor.rows + tensor.columns);
  if (tensor.neural) return (sizeof(float) + sizeof(uint8_t)) * tensor.columns;
  return 0;
}

Result<TensorFacts> ParseTensorFacts(const TensorInfo& tensor, ByteSpan side, int qualities) {
  if (!tensor.stream && !tensor.neural) return TensorFacts();
  const uint64_t expected = tensor.side()->hash;
  if (const uint64_t found = Hash64(side); found != expected) {
    return Status::Corrupt(
        21, "side information hash is " + ToHex(found) + ", expected " + ToHex(expected));
  }
  return tensor.stream ? StreamFacts(tensor, side) : NeuralFacts(tensor, side, qualities);
}

}  // namespace nwc
