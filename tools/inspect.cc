#include "tools/inspect.h"

#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "loader/byte_source.h"
#include "loader/model_loader.h"
#include "tools/display.h"
#include "tools/html_report.h"
#include "tools/model_totals.h"
#include "tools/open_container.h"
#include "tools/parse_json.h"
#include "tools/report_text.h"

namespace nwc {
namespace {

using Json = nlohmann::ordered_json;

Json BitsJson(uint64_t bytes, uint64_t weights) {
  return weights == 0 ? Json(nullptr) : Json(8 * Ratio(bytes, weights));
}

Json TensorJson(const Index& index, const TensorInfo& t) {
  Json json;
  json["name"] = t.name;
  json["shape"] = t.shape;
  json["dtype"] = DTypeName(t.dtype);
  json["profile"] = ProfileOf(t);
  json["linear"] = t.linear;
  json["weights"] = t.weights();
  json["bytes"] = TensorBytes(t);
  json["payload_bytes"] = t.payload_bytes();
  json["decoded_bytes"] = t.decoded_bytes();
  json["bits_per_weight"] = BitsJson(TensorBytes(t), t.weights());
  json["chunks"] = t.chunks.size();
  json["tile"] = {t.tile_rows, t.tile_columns};
  const auto layer = LayerNumber(t.name);
  json["layer"] = layer ? Json(*layer) : Json(nullptr);
  json["shard"] = index.shards[t.shard].name;
  return json;
}

Json NeuralCodecJson(const NeuralCodecInfo& c) {
  return {{"name", c.name},          {"bytes", c.extent.size}, {"chunk", c.chunk},
          {"latents", c.latents},    {"width", c.width},       {"blocks", c.blocks},
          {"qualities", c.qualities}};
}

// The packing options as they were written, or as text where that is no JSON of sane depth.
Json OptionsJson(const std::string& options) {
  Json parsed = ParseJson<Json>(options);
  return parsed.is_discarded() ? Json(options) : parsed;
}

// "1.0", as the superblock says.
Result<std::string> ReadVersion(const Loader& loader) {
  constexpr uint64_t kMajorOffset = 8;
  std::array<uint8_t, 4> bytes{};
  NWC_RETURN_IF_ERROR(loader.source().Read(kMajorOffset, bytes));
  return std::to_string(LoadLittle<uint16_t>(&bytes[0])) + "." +
         std::to_string(LoadLittle<uint16_t>(&bytes[2]));
}

// The root hash of one container; those of a set are with its shards.
Json RootHashJson(const ModelLoader& model) {
  return model.shard_count() > 1 ? Json(nullptr)
                                 : Json(ToHex(model.shard(0).superblock().root_hash));
}

Json ContainersJson(const ModelLoader& model) {
  Json json = Json::array();
  for (size_t i = 0; i < model.shard_count(); ++i) {
    const Loader& shard = model.shard(i);
    json.push_back({{"file", shard.path()},
                    {"bytes", shard.superblock().file_size},
                    {"tensors", shard.index().tensors.size()},
                    {"root_hash", ToHex(shard.superblock().root_hash)}});
  }
  return json;
}

std::string FormatJson(const ModelLoader& model, const Index& index, const std::string& version,
                       const ModelTotals& sum) {
  Json json;
  json["file"] = model.path();
  json["version"] = version;
  json["producer"] = index.producer;
  json["root_hash"] = RootHashJson(model);
  json["containers"] = ContainersJson(model);
  json["file_bytes"] = sum.file_bytes;
  json["index_bytes"] = sum.index_bytes;
  json["metadata_bytes"] = sum.metadata_bytes;
  json["payload_bytes"] = sum.payload_bytes;
  json["decoded_bytes"] = sum.decoded_bytes;
  json["overhead_bytes"] = sum.OverheadBytes();
  json["overhead_fraction"] = Ratio(sum.OverheadBytes(), sum.file_bytes);
  json["weights"] = sum.weights;
  json["bits_per_weight"] = BitsJson(sum.file_bytes, sum.weights);
  json["linear_weights"] = sum.linear_weights;
  json["linear_bits_per_weight"] = BitsJson(sum.linear_bytes, sum.linear_weights);
  json["codec_bytes"] = sum.codec_bytes;
  json["neural_codec_bytes"] = sum.neural_bytes;
  json["options"] = OptionsJson(index.options);
  json["layers"] = sum.layers;
  json["codecs"] = Json::array();
  for (const CodecInfo& c : index.codecs) json["codecs"].push_back(c.name);
  json["neural_codecs"] = Json::array();
  for (const NeuralCodecInfo& c : index.neural_codecs) {
    json["neural_codecs"].push_back(NeuralCodecJson(c));
  }
  json["shards"] = Json::array();
  for (const ShardInfo& s : index.shards) json["shards"].push_back(s.name);
  json["files"] = Json::array();
  for (const FileInfo& f : index.files) {
    json["files"].push_back({{"name", f.name}, {"bytes", f.extent.size}});
  }
  json["tensors"] = Json::array();
  for (const TensorInfo& t : index.tensors) json["tensors"].push_back(TensorJson(index, t));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string FormatTensors(const Index& index) {
  std::vector<Row> rows = {{"tensor", "shape", "dtype", "profile", "bytes", "bits/weight"}};
  for (const TensorInfo& t : index.tensors) {
    rows.push_back(
        {PlainName(t.name), FormatShape(t.shape), DTypeName(t.dtype), ProfileOf(t),
         std::to_string(TensorBytes(t)),
         t.weights() == 0 ? "-" : FormatNumber("%.3f", 8 * Ratio(TensorBytes(t), t.weights()))});
  }
  return AlignColumns(rows, "llllrr") + "\n";
}

std::string FormatProfiles(const ModelTotals& sum) {
  std::vector<Row> rows = {{"profile", "tensors", "weights", "bytes", "bits/weight"}};
  for (const auto& [name, p] : sum.profiles) {
    rows.push_back({name, std::to_string(p.tensors), std::to_string(p.weights),
                    std::to_string(p.bytes),
                    p.weights == 0 ? "-" : FormatNumber("%.3f", 8 * Ratio(p.bytes, p.weights))});
  }
  return AlignColumns(rows, "lrrrr") + "\n";
}

// "0 ... 11 (12)".
std::string FormatLayers(const std::set<uint64_t>& layers) {
  if (layers.empty()) return "none";
  return std::to_string(*layers.begin()) + " ... " + std::to_string(*layers.rbegin()) + " (" +
         std::to_string(layers.size()) + ")";
}

template <typename Items>
std::string JoinNames(const Items& items) {
  std::string text;
  for (const auto& item : items) text += (text.empty() ? "" : ", ") + PlainName(item.name);
  return text.empty() ? "none" : text;
}

// "name: chunks of 16 by 16 latents, width 512, 4 blocks, 4 qualities, 2234880 bytes; …".
std::string FormatNeuralCodecs(const Index& index) {
  std::string text;
  for (const NeuralCodecInfo& c : index.neural_codecs) {
    text += (text.empty() ? "" : "; ") + PlainName(c.name) + ": chunks of " +
            std::to_string(c.chunk) + " by " + std::to_string(c.latents) + " latents, width " +
            std::to_string(c.width) + ", " + std::to_string(c.blocks) + " blocks, " +
            std::to_string(c.qualities) + " qualities, " + std::to_string(c.extent.size) + " bytes";
  }
  return text.empty() ? "none" : text;
}

std::string FormatRootHash(const ModelLoader& model) {
  if (model.shard_count() > 1)
    return std::to_string(model.shard_count()) + " containers, see --json";
  return ToHex(model.shard(0).superblock().root_hash);
}

std::string FormatSummary(const ModelLoader& model, const Index& index, const std::string& version,
                          const ModelTotals& sum) {
  std::vector<Row> rows = {
      {"file", model.path()},
      {"size", std::to_string(sum.file_bytes) + " bytes (" + FormatBytes(sum.file_bytes) +
                   "), decodes to " + FormatBytes(sum.decoded_bytes)},
      {"weights", std::to_string(sum.weights) + ", " +
                      (sum.weights == 0 ? "no bits"
                                        : FormatNumber("%.4f bits a weight of the whole file",
                                                       sum.BitsPerWeight()))},
      {"linear", std::to_string(sum.linear_weights) + " weights" +
                     (sum.linear_weights == 0
                          ? ""
                          : FormatNumber(", %.4f bits a weight", sum.LinearBitsPerWeight()))},
      {"overhead",
       std::to_string(sum.OverheadBytes()) + " bytes" +
           FormatNumber(" (%.3f %%)", 100 * Ratio(sum.OverheadBytes(), sum.file_bytes)) +
           " in superblock, index and padding"},
      {"contents", std::to_string(index.tensors.size()) + " tensors in " +
                       std::to_string(sum.chunks) + " chunks"},
      {"layers", FormatLayers(sum.layers)},
      {"files", JoinNames(index.files)},
      {"shards", JoinNames(index.shards)},
      {"codecs", JoinNames(index.codecs)},
      {"neural codecs", FormatNeuralCodecs(index)},
      {"version", version},
      {"producer", Printable(index.producer)},
      {"options", Printable(index.options)},
      {"root hash", FormatRootHash(model)}};
  return AlignColumns(rows, "");
}

}  // namespace

Status Inspect(const InspectArguments& arguments) {
  if (!arguments.html.empty()) {
    NWC_RETURN_IF_ERROR(CheckPagePath(arguments.html, arguments.force, {arguments.file}));
  }
  NWC_ASSIGN_OR_RETURN(const auto model, OpenModel(arguments.file, arguments.remote));
  NWC_ASSIGN_OR_RETURN(const std::string version, ReadVersion(model->shard(0)));
  if (!arguments.html.empty()) {
    NWC_RETURN_IF_ERROR(WriteReportPage(*model, std::nullopt, {arguments.html, arguments.force}));
    if (!arguments.json && !arguments.summary) return PrintOut(arguments.html + ": written\n");
  }
  const ModelTotals sum = TotalsOf(*model);
  const Index index = JoinIndexes(*model);
  if (arguments.json) return PrintOut(FormatJson(*model, index, version, sum));
  const std::string tensors = arguments.summary ? "" : FormatTensors(index);
  return PrintOut(tensors + FormatProfiles(sum) + FormatSummary(*model, index, version, sum));
}

}  // namespace nwc
