// The golden files on devices: the bits of the host's decoder, the rule in the file's name.
#include <filesystem>
#include <random>

#include "loader/byte_source.h"
#include "loader/loader.h"
#include "tests/cuda/device_test.h"
#include "tests/support/golden_files.h"

namespace nwc {
namespace {

using Path = std::filesystem::path;

std::vector<uint8_t> ReadExtent(const Loader& loader, uint64_t offset, uint64_t size) {
  std::vector<uint8_t> bytes(size);
  EXPECT_TRUE(loader.source().Read(offset, bytes).ok());
  return bytes;
}

class GoldenOnDevice : public DeviceTest {
 protected:
  // What tensor `number` is decoded with, from the file.
  Result<std::unique_ptr<DeviceTensorDecoder>> DecoderOf(const Loader& loader, size_t number) {
    const TensorInfo& tensor = loader.index().tensors[number];
    DeviceCodec codec;
    if (tensor.stream) {
      const auto tables =
          std::make_shared<const StreamTables>(loader.index().codecs[tensor.stream->codec].tables);
      NWC_ASSIGN_OR_RETURN(codec.stream, DeviceStreamTables::Upload(runtime(), tables, nullptr));
    }
    if (tensor.neural) {
      const NeuralCodecInfo& info = loader.index().neural_codecs[tensor.neural->codec];
      NWC_ASSIGN_OR_RETURN(
          const NeuralCodec neural,
          ReadNeuralCodec(info, ReadExtent(loader, info.extent.offset, info.extent.size)));
      NWC_ASSIGN_OR_RETURN(codec.neural, DeviceNeuralCodec::Upload(runtime(), neural, nullptr));
    }
    std::vector<uint8_t> side;
    if (tensor.side() != nullptr) {
      side = ReadExtent(loader, tensor.side()->offset, tensor.side()->size);
    }
    return MakeDecoder(tensor, side, codec);
  }

  Status DecodeSlice(const Loader& loader, size_t number, const TensorSlice& slice,
                     std::vector<uint8_t>* out) {
    const TensorInfo& tensor = loader.index().tensors[number];
    NWC_ASSIGN_OR_RETURN(const auto decoder, DecoderOf(loader, number));
    std::vector<std::vector<uint8_t>> bytes;
    std::vector<ChunkOnDevice> chunks;
    for (const Chunk& chunk : tensor.chunks) {
      bytes.push_back(ReadExtent(loader, chunk.offset, chunk.size));
    }
    for (size_t c = 0; c < bytes.size(); ++c) chunks.push_back({decoder.get(), c, bytes[c]});
    if (chunks.empty()) return {};
    return Decode(chunks, slice, out);
  }

  void GivesTheHostsBits(const Loader& loader, size_t number, const TensorSlice& slice) {
    const auto expected = loader.Load(number, slice);
    ASSERT_TRUE(expected.ok()) << expected.status().ToString();
    std::vector<uint8_t> out;
    const Status status = DecodeSlice(loader, number, expected->slice, &out);
    ASSERT_TRUE(status.ok()) << status.ToString();
    ASSERT_TRUE(std::ranges::equal(out, expected->bytes.span()))
        << loader.path() << " " << expected->info.name << " rows " << slice.row_begin << ".."
        << slice.row_end << " columns " << slice.column_begin << ".." << slice.column_end;
  }
};

TEST_P(GoldenOnDevice, WholeTensorsAreTheHosts) {
  for (const Path& path : GoldenContainers("valid")) {
    const auto loader = Loader::Open(path, {});
    ASSERT_TRUE(loader.ok());
    for (size_t i = 0; i < (*loader)->index().tensors.size(); ++i) {
      if ((*loader)->index().tensors[i].supported()) GivesTheHostsBits(**loader, i, {});
    }
  }
}

TEST_P(GoldenOnDevice, SlicesAreTheHosts) {
  std::mt19937 rng(1);
  const auto part = [&rng](uint64_t size, uint64_t* begin, uint64_t* end) {
    *begin = rng() % size;
    *end = *begin + 1 + rng() % (size - *begin);
  };
  for (const Path& path : GoldenContainers("valid")) {
    const auto loader = Loader::Open(path, {});
    ASSERT_TRUE(loader.ok());
    for (size_t i = 0; i < (*loader)->index().tensors.size(); ++i) {
      const TensorInfo& tensor = (*loader)->index().tensors[i];
      for (int turn = 0; turn < 4 && tensor.supported() && tensor.weights() > 0; ++turn) {
        TensorSlice slice;
        if (turn % 2 == 0) part(tensor.rows, &slice.row_begin, &slice.row_end);
        if (turn != 0) part(tensor.columns, &slice.column_begin, &slice.column_end);
        GivesTheHostsBits(**loader, i, slice);
      }
    }
  }
}

// What a kernel finds; the host checks all that comes before.
TEST_P(GoldenOnDevice, BrokenChunksAreFlagged) {
  for (const Path& path : GoldenContainers("invalid")) {
    const int rule = std::stoi(path.stem().string().substr(1, 2));
    if ((rule < 23 || rule > 28) && rule != 36 && rule != 37) continue;
    const auto loader = Loader::Open(path, {});
    ASSERT_TRUE(loader.ok()) << loader.status().ToString();
    Status first;
    for (size_t i = 0; first.ok() && i < (*loader)->index().tensors.size(); ++i) {
      std::vector<uint8_t> out;
      first = DecodeSlice(**loader, i, WholeSlice((*loader)->index().tensors[i]), &out);
    }
    EXPECT_EQ(first.rule(), rule) << path << " " << first.ToString();
  }
}

NWC_ON_EVERY_DEVICE(GoldenOnDevice);

}  // namespace
}  // namespace nwc
