#include <gtest/gtest.h>

#include <tuple>

#include "tests/tools/memory_reader.h"
#include "tests/tools/pytorch_writer.h"
#include "tests/tools/temporary_folder.h"
#include "tools/checkpoint.h"
#include "tools/pytorch_file.h"
#include "tools/stored_tensor.h"

namespace nwc {
namespace {

// Numbers 0, 1, 2 ... as elements of T.
template <typename T>
std::string Count(size_t elements) {
  std::string bytes;
  for (size_t i = 0; i < elements; ++i) bytes += Little(static_cast<T>(i));
  return bytes;
}

template <typename T>
std::string Elements(const std::vector<int>& values) {
  std::string bytes;
  for (const int v : values) bytes += Little(static_cast<T>(v));
  return bytes;
}

std::string Float(const std::string& key, int64_t elements) {
  return pickle::Storage("FloatStorage", key, elements);
}

// One tensor "w" of 6 floats.
std::string Small(const ZipOptions& options = {}) {
  return MakePyTorchFile(pickle::Dict({{"w", pickle::Tensor(Float("0", 6), 0, {2, 3}, {3, 1})}}),
                         {{"0", Count<float>(6)}}, options);
}

class PyTorchCheckpointTest : public testing::Test {
 protected:
  std::unique_ptr<Checkpoint> Open(const std::string& content) {
    folder_.Write("model.bin", content);
    auto opened = Checkpoint::Open(folder_.Path("model.bin"));
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    return opened.ok() ? std::move(*opened) : nullptr;
  }
  Status Rejection(const std::string& content) {
    folder_.Write("model.bin", content);
    const auto opened = Checkpoint::Open(folder_.Path("model.bin"));
    EXPECT_FALSE(opened.ok());
    return opened.ok() ? Status() : opened.status();
  }
  void ExpectFails(const std::string& content, const std::string& why) {
    const Status status = Rejection(content);
    EXPECT_NE(status.message().find(why), std::string::npos) << status.message();
    EXPECT_TRUE(status.message().starts_with(folder_.Path("model.bin") + ": "));
  }
  // A file whose only value is `value`, with a storage "0" of 6 floats.
  void ExpectValueFails(const std::string& value, const std::string& why) {
    ExpectFails(MakePyTorchFile(pickle::Dict({{"w", value}}), {{"0", Count<float>(6)}}), why);
  }
  static std::string Read(const Checkpoint& checkpoint, const std::string& name) {
    for (size_t i = 0; i < checkpoint.tensors().size(); ++i) {
      const SourceTensor& t = checkpoint.tensors()[i];
      if (t.name != name) continue;
      std::vector<uint8_t> bytes(StoredBytes(t.dtype, t.shape).value_or(0));
      const Status status = checkpoint.Read(i, bytes);
      EXPECT_TRUE(status.ok()) << status.ToString();
      return {bytes.begin(), bytes.end()};
    }
    ADD_FAILURE() << name << " is not there";
    return "";
  }

  TemporaryFolder folder_;
};

TEST_F(PyTorchCheckpointTest, ReadsTensorsOfEveryType) {
  const std::vector<std::tuple<const char*, DType, size_t>> types = {
      {"FloatStorage", DType::kF32, 4},  {"HalfStorage", DType::kF16, 2},
      {"DoubleStorage", DType::kF64, 8}, {"BFloat16Storage", DType::kBF16, 2},
      {"LongStorage", DType::kI64, 8},   {"IntStorage", DType::kI32, 4},
      {"ShortStorage", DType::kI16, 2},  {"CharStorage", DType::kI8, 1},
      {"ByteStorage", DType::kU8, 1},    {"BoolStorage", DType::kBool, 1}};
  std::vector<std::pair<std::string, std::string>> items, storages;
  for (const auto& [type, dtype, size] : types) {
    items.emplace_back(type, pickle::Tensor(pickle::Storage(type, type, 3), 0, {3}, {1}));
    storages.emplace_back(type, std::string(3 * size, static_cast<char>(size)));
  }
  const auto checkpoint = Open(MakePyTorchFile(pickle::Dict(items), storages));
  ASSERT_NE(checkpoint, nullptr);
  for (size_t i = 0; i < types.size(); ++i) {
    EXPECT_EQ(checkpoint->tensors()[i].dtype, std::get<1>(types[i]));
    EXPECT_EQ(Read(*checkpoint, items[i].first), storages[i].second);
  }
}

TEST_F(PyTorchCheckpointTest, IsCalledAsAfterConversion) {
  folder_.Write("pytorch_model.bin", Small());
  folder_.Write("config.json", "{}");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  EXPECT_EQ((*checkpoint)->shards()[0].name, "model.safetensors");
  EXPECT_EQ((*checkpoint)->shards()[0].metadata, R"({"format":"pt"})");
  EXPECT_EQ((*checkpoint)->ReadFiles()->size(), 1u);
  EXPECT_EQ((*checkpoint)->note(), "");
}

TEST_F(PyTorchCheckpointTest, ShardsGetAnIndexOfSafetensors) {
  const char* names[] = {"pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"};
  const char* tensors[] = {"b", "a"};
  for (int i = 0; i < 2; ++i) {
    folder_.Write(
        names[i],
        MakePyTorchFile(pickle::Dict({{tensors[i], pickle::Tensor(Float("0", 1), 0, {1}, {1})}}),
                        {{"0", Count<float>(1)}}));
  }
  folder_.Write("pytorch_model.bin.index.json",
                R"({"weight_map":{"b":"pytorch_model-00001-of-00002.bin",)"
                R"("a":"pytorch_model-00002-of-00002.bin"}})");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  EXPECT_EQ((*checkpoint)->shards()[1].name, "model-00002-of-00002.safetensors");
  const auto files = (*checkpoint)->ReadFiles();
  ASSERT_TRUE(files.ok() && files->size() == 1);
  EXPECT_EQ((*files)[0].name, "model.safetensors.index.json");
  EXPECT_EQ(std::string((*files)[0].content.begin(), (*files)[0].content.end()),
            "{\n  \"metadata\": {\n    \"total_size\": 8\n  },\n  \"weight_map\": {\n"
            "    \"a\": \"model-00002-of-00002.safetensors\",\n"
            "    \"b\": \"model-00001-of-00002.safetensors\"\n  }\n}\n");
}

TEST_F(PyTorchCheckpointTest, SafetensorsArePreferred) {
  folder_.Write("pytorch_model.bin", "x");
  std::string header = R"({"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
  folder_.Write("model.safetensors", Little<uint64_t>(header.size()) + header + "!");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().ToString();
  EXPECT_EQ(Read(**checkpoint, "w"), "!");
  EXPECT_NE((*checkpoint)->note().find("holds PyTorch files, too"), std::string::npos);
}

TEST_F(PyTorchCheckpointTest, GathersWhatIsNotRowMajor) {
  const auto checkpoint = Open(MakePyTorchFile(
      pickle::Dict({{"transposed",
                     pickle::Tensor(pickle::Storage("HalfStorage", "0", 6), 0, {3, 2}, {1, 3})},
                    {"column", pickle::Tensor(pickle::Storage("HalfStorage", "0", 6), 1, {2}, {3})},
                    {"swapped", pickle::Tensor(pickle::Storage("LongStorage", "1", 12), 0,
                                               {2, 2, 3}, {1, 6, 2})}}),
      {{"0", Count<uint16_t>(6)}, {"1", Count<int64_t>(12)}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(Read(*checkpoint, "transposed"), Elements<uint16_t>({0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(Read(*checkpoint, "column"), Elements<uint16_t>({1, 4}));
  EXPECT_EQ(Read(*checkpoint, "swapped"),
            Elements<int64_t>({0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11}));
}

TEST_F(PyTorchCheckpointTest, TensorsMayShareAStorage) {
  const std::string storage = pickle::Storage("ByteStorage", "0", 10);
  const auto checkpoint = Open(
      MakePyTorchFile(pickle::Dict({{"a", pickle::Tensor(storage, 0, {10}, {1})},
                                    {"b", pickle::Tensor(storage, 4, {2, 3}, {3, 1})},
                                    {"scalar", pickle::Tensor(storage, 9, {}, {})},
                                    {"none", pickle::Tensor(storage, 0, {0, 5}, {5, 1})},
                                    {"one", pickle::Tensor(storage, 2, {1, 1, 3}, {77, 99, 1})}}),
                      {{"0", "0123456789"}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(Read(*checkpoint, "a"), "0123456789");
  EXPECT_EQ(Read(*checkpoint, "b"), "456789");
  EXPECT_EQ(Read(*checkpoint, "scalar"), "9");
  EXPECT_EQ(Read(*checkpoint, "none"), "");
  EXPECT_EQ(Read(*checkpoint, "one"), "234");
}

TEST_F(PyTorchCheckpointTest, ReadsParametersAndTheStateOfAModule) {
  const std::string hooks = pickle::Call(pickle::Class("collections", "OrderedDict"), {});
  const std::string parameter =
      pickle::Call(pickle::Class("torch._utils", "_rebuild_parameter"),
                   {pickle::Tensor(Float("0", 6), 0, {6}, {1}), "\x88", hooks});
  const std::string pickled = "\x80\x02" + hooks + "(" + pickle::Text("w") + parameter + "u}" +
                              pickle::Text("_metadata") + "}" + pickle::Text("version") +
                              pickle::Int(1) + "ssb.";
  const auto checkpoint = Open(MakePyTorchFile(pickled, {{"0", Count<float>(6)}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(Read(*checkpoint, "w"), Count<float>(6));
}

TEST_F(PyTorchCheckpointTest, ReadsTypesWithoutAStorageOfTheirOwn) {
  const std::string tensor = pickle::Call(
      pickle::Class("torch._utils", "_rebuild_tensor_v3"),
      {pickle::Storage("UntypedStorage", "0", 6, "torch.storage"), pickle::Int(1),
       pickle::Ints({2}), pickle::Ints({1}), "\x89", "}", pickle::Class("torch", "uint16")});
  const auto checkpoint = Open(MakePyTorchFile(pickle::Dict({{"w", tensor}}), {{"0", "abcdef"}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(checkpoint->tensors()[0].dtype, DType::kU16);
  EXPECT_EQ(Read(*checkpoint, "w"), "cdef");
}

TEST_F(PyTorchCheckpointTest, UsesTheMemoAndNewerProtocols) {
  const std::string text = "\x8C\x01w";  // SHORT_BINUNICODE
  const std::string tensor = pickle::Tensor(Float("0", 6), 0, {6}, {1});
  const std::string pickled = std::string("\x80\x05\x95") + Little<uint64_t>(99) + "}\x94(" + text +
                              "\x94" + tensor + "q\x02" + pickle::Text("v") + "h\x02u.";
  const auto checkpoint = Open(MakePyTorchFile(pickled, {{"0", Count<float>(6)}}));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(Read(*checkpoint, "w"), Read(*checkpoint, "v"));
}

TEST_F(PyTorchCheckpointTest, ReadsZip64AndFilesWithoutChecksums) {
  ZipOptions options;
  options.zip64 = true;
  options.extra = std::string("FB\x02\x00ZZ", 6);
  EXPECT_EQ(Read(*Open(Small(options)), "w"), Count<float>(6));
  options = {};
  options.crc = false;
  EXPECT_EQ(Read(*Open(Small(options)), "w"), Count<float>(6));
}

TEST_F(PyTorchCheckpointTest, FunctionsOfOthersAreRefusedByName) {
  const Status status = Rejection(MakePyTorchFile(
      "\x80\x02" + pickle::Call(pickle::Class("os", "system"), {pickle::Text("true")}) + ".", {}));
  EXPECT_EQ(status.code(), ErrorCode::kUnsupported);
  EXPECT_NE(status.message().find("asks for 'os.system'"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("the file would run code"), std::string::npos);
  ExpectValueFails(pickle::Text("builtins") + pickle::Text("eval") + "\x93", "'builtins.eval'");
  ExpectValueFails(pickle::Class("torch", "load"), "'torch.load'");
  ExpectValueFails(pickle::Class("torch", "ComplexFloatStorage"), "has no place in a container");
  ExpectValueFails("\x81", "instruction 129");
}

TEST_F(PyTorchCheckpointTest, ValuesThatAreNoTensorsAreNamed) {
  ExpectValueFails(pickle::Int(3), "the value of 'w' is no tensor");
  ExpectValueFails("N", "the value of 'w' is no tensor");
  ExpectValueFails("]", "the value of 'w' is no tensor");
  ExpectValueFails("}", "the value of 'w' is no tensor");
  ExpectFails(MakePyTorchFile("\x80\x02K\x01.", {}), "holds no dict");
  ExpectFails(MakePyTorchFile("\x80\x02}K\x01K\x02s.", {}), "a key is no name");
}

TEST_F(PyTorchCheckpointTest, TensorsStayInTheirStorage) {
  const auto tensor = [](int64_t offset, const std::vector<int64_t>& shape,
                         const std::vector<int64_t>& strides, int64_t elements = 6) {
    return pickle::Tensor(Float("0", elements), offset, shape, strides);
  };
  ExpectValueFails(tensor(1, {2, 3}, {3, 1}), "leaves it: it has 6 elements");
  ExpectValueFails(tensor(7, {1}, {1}), "leaves it");
  ExpectValueFails(tensor(0, {2}, {INT64_MAX}), "leaves it");
  ExpectValueFails(tensor(INT64_MAX, {2}, {6}), "leaves it");
  ExpectValueFails(tensor(0, {7}, {0}), "has more elements than the 6 of its storage");
  ExpectValueFails(tensor(0, {INT64_MAX, INT64_MAX}, {0, 0}), "has more elements");
  ExpectValueFails(tensor(0, {-1}, {1}), "holds what is no size");
  ExpectValueFails(tensor(-1, {1}, {1}), "not made as torch.save");
  ExpectValueFails(tensor(0, {6}, {1, 1}), "not a stride a dimension");
  ExpectValueFails(tensor(0, std::vector<int64_t>(9, 1), std::vector<int64_t>(9, 1)),
                   "has 9 dimensions");
  ExpectValueFails(tensor(0, {7}, {1}, 7), "has 24 bytes, expected 28");
  ExpectValueFails(tensor(0, {1}, {1}, INT64_MAX), "too large");
  ExpectValueFails(pickle::Tensor(Float("1", 6), 0, {6}, {1}), "'archive/data/1' is missing");
}

TEST_F(PyTorchCheckpointTest, ACyclicMemoEnds) {
  // A dict, in the memo, that holds itself.
  ExpectFails(
      MakePyTorchFile(
          std::string("\x80\x02}q\x00", 5) + pickle::Text("w") + std::string("h\x00s.", 4), {}),
      "the value of 'w' is no tensor");
  ExpectFails(MakePyTorchFile(std::string("\x80\x02h\x00.", 5), {}), "a memo that is not there");
  ExpectFails(MakePyTorchFile("\x80\x02}r\xFF\xFF\xFF\x7F.", {}), "does not grow one by one");
}

TEST_F(PyTorchCheckpointTest, LimitsHold) {
  ExpectFails(MakePyTorchFile("\x80\x02" + std::string(2000, '('), {}), "nested too deep");
  ExpectFails(MakePyTorchFile("\x80\x02" + std::string((1 << 20) + 1, 'N'), {}), "its limit");
  ExpectFails(MakePyTorchFile("\x80\x02X\xFF\xFF\xFF\xFF.", {}), "cut short");
  ExpectFails(MakePyTorchFile("\x80\x02(u.", {}), "more from its stack than there is");
}

TEST_F(PyTorchCheckpointTest, DamageIsFound) {
  const std::string whole = Small();
  std::string damaged = whole;
  damaged[whole.find(Count<float>(6)) + 5] ^= 1;
  const auto checkpoint = Open(damaged);
  ASSERT_NE(checkpoint, nullptr);
  std::vector<uint8_t> bytes(24);
  const Status status = checkpoint->Read(0, bytes);
  EXPECT_EQ(status.code(), ErrorCode::kCorrupt);
  EXPECT_NE(status.message().find("tensor 'w': the CRC-32 is"), std::string::npos);
  damaged = whole;
  damaged[whole.find("FloatStorage")] ^= 1;
  ExpectFails(damaged, "entry 'archive/data.pkl': the CRC-32 is");
}

TEST_F(PyTorchCheckpointTest, CompressedAndForeignZipFilesAreRefused) {
  ZipOptions options;
  options.method = 8;
  ExpectFails(Small(options), "is compressed or encrypted");
  ExpectFails(MakeZip({{"a", "b"}}), "without data.pkl");
  ExpectFails(MakeZip({{"a/data.pkl", "."}, {"a/data.pkl", "."}}), "is there twice");
  ExpectFails(MakeZip({{"a/data.pkl", "."}, {"a/byteorder", "big"}}), "big-endian");
}

TEST_F(PyTorchCheckpointTest, OldFilesAreToldHowToConvert) {
  ExpectFails("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.", "PyTorch 1.6");
  ExpectFails("", "convert it once in Python");
}

TEST_F(PyTorchCheckpointTest, EveryTruncationIsAnError) {
  for (const bool zip64 : {false, true}) {
    ZipOptions options;
    options.zip64 = zip64;
    const std::string whole = Small(options);
    for (size_t size = 0; size < whole.size(); ++size) {
      const std::string cut = whole.substr(0, size);
      EXPECT_FALSE(ReadPyTorchFile(MemoryReader(cut), size).ok()) << size;
    }
  }
}

TEST_F(PyTorchCheckpointTest, EveryWrongByteIsAnErrorOrHarmless) {
  const std::string whole = Small();
  for (size_t i = 0; i < whole.size(); ++i) {
    for (const char flip : {'\x01', '\x80'}) {
      std::string damaged = whole;
      damaged[i] = static_cast<char>(damaged[i] ^ flip);
      const ReadAt read = MemoryReader(damaged);
      const auto tensors = ReadPyTorchFile(read, damaged.size());
      if (!tensors.ok()) continue;
      ASSERT_EQ((*tensors)[0].shape, (std::vector<uint64_t>{2, 3})) << i;
      std::vector<uint8_t> bytes(24);
      if (!ReadStored(read, (*tensors)[0], bytes).ok()) continue;
      EXPECT_EQ(std::string(bytes.begin(), bytes.end()), Count<float>(6)) << i;
    }
  }
}

}  // namespace
}  // namespace nwc
