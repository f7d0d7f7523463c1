// Writes the seeds of the fuzz corpora: make_fuzz_corpus tests/fuzz/corpus. Same output every time.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "tests/fuzz/chunk_input.h"
#include "tests/fuzz/neural_input.h"
#include "tests/support/keeping_sink.h"
#include "tests/tools/gguf_writer.h"
#include "tests/tools/pytorch_writer.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

void Write(const fs::path& path, const std::vector<uint8_t>& bytes) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
}

std::vector<uint8_t> StreamChunk(const StreamCase& c, bool escapes, uint32_t seed) {
  std::mt19937 rng(seed);
  StreamTile tile;
  tile.rows = static_cast<uint32_t>(c.tensor.rows);
  tile.columns = static_cast<uint32_t>(c.tensor.columns);
  for (uint64_t i = 0; i < c.tensor.weights(); ++i) {
    tile.indices.push_back(static_cast<int8_t>(static_cast<int>(rng() % 9) - 4));
  }
  if (escapes) {
    const size_t size = DTypeSize(c.tensor.dtype);
    tile.exact_columns = {0};
    tile.exact_values.assign(size * tile.rows, 0x11);
    tile.patches = {0, tile.columns};
    tile.patch_values.assign(size * 2, 0x22);
  }
  static const StreamEncodeTables tables(DefaultCodec().tables);
  return EncodeStreamChunk(tile, c.tensor.stream->trellis, c.side.row_table, c.side.column_table,
                           tables);
}

std::vector<uint8_t> Prefixed(std::vector<uint8_t> prefix, const std::vector<uint8_t>& rest) {
  prefix.insert(prefix.end(), rest.begin(), rest.end());
  return prefix;
}

std::vector<uint8_t> Container() {
  KeepingSink sink;
  ContainerWriter writer(&sink);
  const std::vector<uint8_t> config = {'{', '}'};
  bool ok = writer.AddFile("config.json", config).ok();
  writer.AddShard({"model.safetensors", "{}"});
  writer.AddCodec(DefaultCodec());
  StreamCase c = MakeStreamCase(7, 39);
  c.tensor.name = "layers.0.stream";
  c.tensor.shape = {c.tensor.rows, c.tensor.columns};
  const std::vector<uint8_t> side = SerializeSideInfo(c.side);
  ok = ok &&
       writer.AddTensor(c.tensor, side, std::vector<std::vector<uint8_t>>{StreamChunk(c, true, 1)})
           .ok();
  TensorInfo exact;
  exact.name = "exact";
  exact.dtype = DType::kBF16;
  exact.profile_value = static_cast<uint8_t>(Profile::kExact);
  exact.shape = {40};
  exact.rows = exact.tile_rows = 40;
  exact.columns = exact.tile_columns = 1;
  const std::vector<uint8_t> elements(80, 0x3C);
  ok = ok &&
       writer
           .AddTensor(exact, {},
                      std::vector<std::vector<uint8_t>>{EncodeExactChunk(elements, exact.dtype)})
           .ok();
  if (!ok || !writer.Finish().ok()) std::abort();
  return sink.bytes;
}

std::vector<uint8_t> NeuralChunk(const NeuralCase& c, const NeuralCodec& codec, bool exact,
                                 uint32_t seed) {
  const auto chunk = EncodeNeuralChunk(MakeNeuralTile(c.tensor, codec, exact, seed), c.tensor.dtype,
                                       c.side.column_quality, NeuralEncodeTables(codec));
  if (!chunk.ok()) std::abort();
  return *chunk;
}

std::vector<uint8_t> NeuralContainer(const NeuralCodec& codec) {
  KeepingSink sink;
  ContainerWriter writer(&sink);
  writer.AddShard({"model.safetensors", "{}"});
  const auto position = writer.AddNeuralCodec(codec);
  NeuralCase c = MakeNeuralCase(10, 40);
  c.tensor.name = "layers.0.nwc";
  const std::vector<std::vector<uint8_t>> chunks = {NeuralChunk(c, codec, true, 9)};
  if (!position.ok() || !writer.AddTensor(c.tensor, SerializeNeuralSideInfo(c.side), chunks).ok() ||
      !writer.Finish().ok()) {
    std::abort();
  }
  return sink.bytes;
}

void WriteNeural(const fs::path& root) {
  const NeuralSettings settings{.chunk = 4, .latents = 3, .width = 8, .blocks = 1, .qualities = 2};
  const NeuralCodec codec = MakeNeuralCodec(settings, 1);
  Write(root / "container" / "neural", NeuralContainer(codec));
  Write(root / "neural_codec" / "thin", Prefixed({3, 2, 7, 1, 1}, *SerializeNeuralCodec(codec)));
  uint32_t seed = 1;
  for (const auto& [a, b] : {std::pair<uint8_t, uint8_t>{3, 31}, {0x45, 0x60}, {0x90, 0xA3}}) {
    const NeuralCase c = MakeNeuralCase(a, b);
    Write(root / "neural_chunk" / ("plain" + std::to_string(seed)),
          Prefixed({a, b}, NeuralChunk(c, codec, false, seed)));
    Write(root / "neural_chunk" / ("exact" + std::to_string(seed)),
          Prefixed({a, b}, NeuralChunk(c, codec, true, seed)));
    ++seed;
  }
}

void WriteText(const fs::path& path, const std::string& text) {
  Write(path, {text.begin(), text.end()});
}

// Whole files, and pickles without the zip file around them.
void WritePyTorch(const fs::path& folder) {
  const std::string floats = pickle::Storage("FloatStorage", "0", 6);
  const std::string hooks = pickle::Call(pickle::Class("collections", "OrderedDict"), {});
  const std::string plain = pickle::Tensor(floats, 0, {2, 3}, {3, 1});
  const std::string transposed = pickle::Tensor(floats, 0, {3, 2}, {1, 3});
  const std::string parameter =
      pickle::Call(pickle::Class("torch._utils", "_rebuild_parameter"), {plain, "\x88", hooks});
  const std::string newer = pickle::Call(
      pickle::Class("torch._utils", "_rebuild_tensor_v3"),
      {pickle::Storage("UntypedStorage", "0", 24, "torch.storage"), pickle::Int(1),
       pickle::Ints({2}), pickle::Ints({1}), "\x89", "}", pickle::Class("torch", "uint16")});
  const std::string pickled = pickle::Dict({{"a", plain}, {"b", transposed}, {"c", parameter}});
  const std::string state = "\x80\x02" + hooks + "q" + std::string(1, '\0') + "(" +
                            pickle::Text("w") + newer + "u}" + pickle::Text("_metadata") + "Nsb.";
  const std::vector<std::pair<std::string, std::string>> storages = {{"0", std::string(24, 's')}};
  WriteText(folder / "pickle", pickled);
  WriteText(folder / "state", state);
  WriteText(folder / "file", MakePyTorchFile(pickled, storages));
  ZipOptions options;
  options.zip64 = true;
  options.crc = false;
  WriteText(folder / "zip64", MakePyTorchFile(state, storages, options));
}

void WriteGguf(const fs::path& folder) {
  const std::string words = Little(8u) + Little<uint64_t>(2) + GgufText("a") + GgufText("bc");
  const std::vector<std::string> metadata = {
      GgufEntry("general.architecture", 8, GgufText("llama")), GgufEntry("words", 9, words),
      GgufEntry("general.alignment", 4, Little(8u))};
  GgufOptions options;
  options.alignment = 8;
  options.tail = "end";
  WriteText(folder / "two", MakeGguf(metadata,
                                     {{"blk.0.w", {2, 2}, 0, std::string(16, 'w')},
                                      {"blk.0.b", {3}, 30, std::string(6, 'b')}},
                                     options));
  WriteText(folder / "quantised", MakeGguf({}, {{"w", {32}, 2, std::string(18, 'q')}}));
}

void WriteAll(const fs::path& root) {
  WriteNeural(root);
  WritePyTorch(root / "pytorch");
  WriteGguf(root / "gguf");
  Write(root / "container" / "small", Container());
  uint32_t seed = 1;
  for (const auto& [a, b] : {std::pair<uint8_t, uint8_t>{3, 31}, {0x45, 0x60}, {0x90, 0xA3}}) {
    const StreamCase c = MakeStreamCase(a, b);
    Write(root / "stream_chunk" / ("plain" + std::to_string(seed)),
          Prefixed({a, b}, StreamChunk(c, false, seed)));
    Write(root / "stream_chunk" / ("escapes" + std::to_string(seed)),
          Prefixed({a, b}, StreamChunk(c, true, seed)));
    Write(root / "side_info" / std::to_string(seed),
          Prefixed({static_cast<uint8_t>(c.tensor.rows), static_cast<uint8_t>(c.tensor.columns)},
                   SerializeSideInfo(c.side)));
    ++seed;
  }
  std::mt19937 rng(4);
  for (const uint8_t a : {uint8_t{0x10}, uint8_t{0x90}}) {
    const DType dtype = a & 0x80 ? DType::kF32 : DType::kBF16;
    std::vector<float> values(1 + (static_cast<size_t>(a & 0x7F) << 2));
    for (float& v : values) v = static_cast<float>(rng() % 1000) / 1000.0f;
    std::vector<uint8_t> elements(values.size() * DTypeSize(dtype));
    FromFloat(dtype, values.data(), values.size(), elements.data());
    Write(root / "exact_chunk" / DTypeName(dtype),
          Prefixed({a, 0}, EncodeExactChunk(elements, dtype)));
  }
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  std::vector<uint8_t> file(8, 0);
  file[0] = static_cast<uint8_t>(header.size());
  file.insert(file.end(), header.begin(), header.end());
  file.resize(file.size() + 8, 0);
  Write(root / "safetensors" / "one", file);
}

}  // namespace
}  // namespace nwc

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_fuzz_corpus FOLDER\n");
    return 2;
  }
  nwc::WriteAll(argv[1]);
  return 0;
}
