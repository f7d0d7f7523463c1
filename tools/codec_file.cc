#include "tools/codec_file.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/checkpoint.h"
#include "tools/display.h"
#include "tools/safetensors.h"

namespace nwc {
namespace {

constexpr const char* kFormat = "nwc-codec-1";

// Collects entries and their bytes in order.
class Writer {
 public:
  void AddHalf(const std::string& name, std::vector<uint64_t> shape,
               const std::vector<float>& values) {
    std::vector<uint8_t> bytes(values.size() * sizeof(uint16_t));
    FromFloat(DType::kF16, values.data(), values.size(), bytes.data());
    Add(name, DType::kF16, std::move(shape), bytes.data(), bytes.size());
  }

  template <typename T>
  void AddValues(const std::string& name, DType dtype, std::vector<uint64_t> shape,
                 const std::vector<T>& values) {
    Add(name, dtype, std::move(shape), values.data(), values.size() * sizeof(T));
  }

  std::vector<uint8_t> Finish(const std::string& metadata) {
    std::vector<uint8_t> file = SerializeSafetensorsHeader(&entries_, metadata);
    file.insert(file.end(), data_.begin(), data_.end());
    return file;
  }

 private:
  void Add(const std::string& name, DType dtype, std::vector<uint64_t> shape, const void* values,
           size_t size) {
    const auto* bytes = static_cast<const uint8_t*>(values);
    data_.insert(data_.end(), bytes, bytes + size);
    entries_.push_back({name, dtype, std::move(shape)});
  }

  std::vector<SafetensorsEntry> entries_;
  std::vector<uint8_t> data_;
};

void AddNet(const std::string& prefix, const NeuralCodec& net, Writer* writer) {
  const uint64_t width = net.width;
  writer->AddHalf(prefix + "in.weight", {width, net.latents}, net.in_weight);
  writer->AddHalf(prefix + "in.bias", {width}, net.in_bias);
  for (size_t b = 0; b < net.block.size(); ++b) {
    const NeuralBlock& block = net.block[b];
    const std::string name = prefix + "blocks." + std::to_string(b) + ".";
    writer->AddHalf(name + "weight", {width, width}, block.weight);
    writer->AddHalf(name + "bias", {width}, block.bias);
    writer->AddHalf(name + "norm.weight", {width}, block.gain);
    writer->AddHalf(name + "norm.bias", {width}, block.shift);
    writer->AddHalf(name + "embedding", {net.qualities, width}, block.embedding);
  }
  writer->AddHalf(prefix + "out.weight", {net.chunk, width}, net.out_weight);
  writer->AddHalf(prefix + "out.bias", {net.chunk}, net.out_bias);
}

void AddTables(const NeuralCodec& net, Writer* writer) {
  std::vector<int16_t> lowest;
  std::vector<uint16_t> symbols, frequencies;
  for (const NeuralTable& t : net.tables) {
    lowest.push_back(t.lowest);
    symbols.push_back(static_cast<uint16_t>(t.frequencies.size()));
    frequencies.insert(frequencies.end(), t.frequencies.begin(), t.frequencies.end());
  }
  const std::vector<uint64_t> shape = {net.qualities, net.latents};
  writer->AddValues("tables.lowest", DType::kI16, shape, lowest);
  writer->AddValues("tables.symbols", DType::kU16, shape, symbols);
  writer->AddValues("tables.frequencies", DType::kU16, {frequencies.size()}, frequencies);
}

// Reads tensors by name and checks their shapes. The first error stays.
class Reader {
 public:
  explicit Reader(const Checkpoint& source) : source_(source) {
    for (size_t i = 0; i < source.tensors().size(); ++i) {
      by_name_[source.tensors()[i].name] = i;
    }
  }

  [[nodiscard]] const Status& status() const { return status_; }

  // The shape of a tensor of `dimensions` dimensions, each at most `limit`; zeros after an error.
  std::vector<uint64_t> Shape(const std::string& name, size_t dimensions, uint64_t limit) {
    const SourceTensor* tensor = Find(name);
    if (tensor == nullptr) return std::vector<uint64_t>(dimensions, 0);
    const bool fits = tensor->shape.size() == dimensions &&
                      std::all_of(tensor->shape.begin(), tensor->shape.end(),
                                  [&](uint64_t d) { return d <= limit; });
    if (fits) return tensor->shape;
    Fail(name, "has shape " + FormatShape(tensor->shape) + ", expected " +
                   std::to_string(dimensions) + " dimensions up to " + std::to_string(limit));
    return std::vector<uint64_t>(dimensions, 0);
  }

  [[nodiscard]] bool Has(const std::string& name) const { return by_name_.contains(name); }

  template <typename T>
  std::vector<T> Values(const std::string& name, DType dtype, const std::vector<uint64_t>& shape) {
    const SourceTensor* tensor = Find(name);
    if (tensor == nullptr) return {};
    if (tensor->dtype != dtype || tensor->shape != shape) {
      Fail(name, std::string("is ") + DTypeName(tensor->dtype) + " " + FormatShape(tensor->shape) +
                     ", expected " + DTypeName(dtype) + " " + FormatShape(shape));
      return {};
    }
    size_t count = 1;
    for (const uint64_t d : shape) count *= d;
    std::vector<T> values(count);
    const Status read = source_.Read(
        by_name_[name], {reinterpret_cast<uint8_t*>(values.data()), count * sizeof(T)});
    if (status_.ok()) status_ = read;
    return values;
  }

  std::vector<float> Half(const std::string& name, const std::vector<uint64_t>& shape) {
    const auto bits = Values<uint16_t>(name, DType::kF16, shape);
    std::vector<float> values;
    values.reserve(bits.size());
    for (const uint16_t b : bits) values.push_back(HalfToFloat(b));
    return values;
  }

  void Fail(const std::string& name, const std::string& what) {
    if (!status_.ok()) return;
    status_ = Status(ErrorCode::kCorrupt, "tensor " + Quote(name) + " " + what);
  }

 private:
  const SourceTensor* Find(const std::string& name) {
    const auto found = by_name_.find(name);
    if (found != by_name_.end()) return &source_.tensors()[found->second];
    Fail(name, "is missing; expected a codec file written by nwc-train --arch nwc");
    return nullptr;
  }

  const Checkpoint& source_;
  std::map<std::string, size_t> by_name_;
  Status status_;
};

NeuralCodec ReadNet(const std::string& prefix, uint8_t qualities, Reader* reader) {
  NeuralCodec net;
  const auto in = reader->Shape(prefix + "in.weight", 2, kMaxNeuralWidth);
  const auto out = reader->Shape(prefix + "out.weight", 2, kMaxNeuralWidth);
  const uint64_t width = in[0];
  net.width = static_cast<uint16_t>(width);
  net.latents = static_cast<uint16_t>(in[1]);
  net.chunk = static_cast<uint16_t>(out[0]);
  net.qualities = qualities;
  net.blocks = 0;
  net.in_weight = reader->Half(prefix + "in.weight", in);
  net.in_bias = reader->Half(prefix + "in.bias", {width});
  net.out_weight = reader->Half(prefix + "out.weight", {net.chunk, width});
  net.out_bias = reader->Half(prefix + "out.bias", {net.chunk});
  for (; net.blocks < kMaxNeuralBlocks; ++net.blocks) {
    const std::string name = prefix + "blocks." + std::to_string(net.blocks) + ".";
    if (!reader->Has(name + "weight")) break;
    NeuralBlock block;
    block.weight = reader->Half(name + "weight", {width, width});
    block.bias = reader->Half(name + "bias", {width});
    block.gain = reader->Half(name + "norm.weight", {width});
    block.shift = reader->Half(name + "norm.bias", {width});
    block.embedding = reader->Half(name + "embedding", {qualities, width});
    net.block.push_back(std::move(block));
  }
  return net;
}

void ReadTables(NeuralCodec* net, Reader* reader) {
  const std::vector<uint64_t> shape = {net->qualities, net->latents};
  const auto lowest = reader->Values<int16_t>("tables.lowest", DType::kI16, shape);
  const auto symbols = reader->Values<uint16_t>("tables.symbols", DType::kU16, shape);
  const auto total = reader->Shape("tables.frequencies", 1, net->table_count() * kMaxNeuralSymbols);
  const auto frequencies = reader->Values<uint16_t>("tables.frequencies", DType::kU16, total);
  if (!reader->status().ok()) return;
  auto at = frequencies.begin();
  for (size_t i = 0; i < lowest.size(); ++i) {
    if (frequencies.end() - at < symbols[i]) break;
    net->tables.push_back({lowest[i], {at, at + symbols[i]}});
    at += symbols[i];
  }
  if (net->tables.size() != lowest.size() || at != frequencies.end()) {
    reader->Fail("tables.frequencies", "does not fit tables.symbols");
  }
}

Status ReadMetadata(const Checkpoint& checkpoint, CodecFile* codec) {
  const auto json =
      nlohmann::json::parse(checkpoint.shards().front().metadata, nullptr, /*exceptions=*/false);
  if (!json.is_object() || json.value("format", "") != kFormat) {
    return Status(ErrorCode::kCorrupt, std::string("no codec file: its metadata lacks \"format\": "
                                                   "\"") +
                                           kFormat + "\"; nwc-train --arch nwc makes one");
  }
  codec->model.synthesis.name = json.value("name", "");
  codec->training = json.value("training", "{}");
  return {};
}

Result<CodecFile> ReadCodec(const std::string& path) {
  NWC_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(path));
  if (checkpoint->shards().size() != 1) {
    return Status(ErrorCode::kUsage, "is a checkpoint, expected one codec file");
  }
  CodecFile codec;
  Reader reader(*checkpoint);
  const auto qualities =
      static_cast<uint8_t>(reader.Shape("expected_mse", 1, kMaxNeuralQualities)[0]);
  codec.model.expected_mse = reader.Values<float>("expected_mse", DType::kF32, {qualities});
  codec.model.analysis = ReadNet("analysis.", qualities, &reader);
  codec.model.synthesis = ReadNet("synthesis.", qualities, &reader);
  NWC_RETURN_IF_ERROR(reader.status());
  ReadTables(&codec.model.synthesis, &reader);
  NWC_RETURN_IF_ERROR(reader.status());
  NWC_RETURN_IF_ERROR(ReadMetadata(*checkpoint, &codec));
  const Status fits = CheckNeuralModel(codec.model);
  if (!fits.ok()) return Status(ErrorCode::kCorrupt, fits.message());
  return codec;
}

}  // namespace

std::vector<uint8_t> SerializeCodecFile(const CodecFile& codec) {
  Writer writer;
  AddNet("analysis.", codec.model.analysis, &writer);
  AddNet("synthesis.", codec.model.synthesis, &writer);
  AddTables(codec.model.synthesis, &writer);
  writer.AddValues("expected_mse", DType::kF32, {codec.model.expected_mse.size()},
                   codec.model.expected_mse);
  const nlohmann::ordered_json metadata = {
      {"format", kFormat}, {"name", codec.model.synthesis.name}, {"training", codec.training}};
  return writer.Finish(metadata.dump());
}

Result<CodecFile> ReadCodecFile(const std::string& path) {
  auto codec = ReadCodec(path);
  if (codec.ok() || codec.status().message().starts_with(path)) return codec;
  return codec.status().WithContext(path);
}

}  // namespace nwc
