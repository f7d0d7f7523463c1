#include <gtest/gtest.h>

#include <functional>

#include "format/format.h"
#include "tests/support/keeping_sink.h"

namespace nwc {
namespace {

TensorInfo RawTensor(const std::string& name, uint64_t rows, uint64_t columns, uint32_t tile_rows) {
  TensorInfo t;
  t.name = name;
  t.dtype = DType::kU8;
  t.shape = {rows, columns};
  t.rows = rows;
  t.columns = columns;
  t.tile_rows = tile_rows;
  t.tile_columns = static_cast<uint32_t>(columns);
  return t;
}

std::vector<uint8_t> SmallContainer() {
  KeepingSink sink;
  ContainerWriter writer(&sink);
  const std::string config = "{\"model_type\": \"test\"}";
  EXPECT_TRUE(writer
                  .AddFile("config.json",
                           ByteSpan(reinterpret_cast<const uint8_t*>(config.data()), config.size()))
                  .ok());
  writer.AddShard({"model.safetensors", "{}"});
  writer.AddCodec(DefaultCodec());
  const std::vector<std::vector<uint8_t>> chunks = {std::vector<uint8_t>(10, 1),
                                                    std::vector<uint8_t>(5, 2)};
  EXPECT_TRUE(writer.AddTensor(RawTensor("layers.0.weight", 3, 5, 2), {}, chunks).ok());
  writer.SetProducer("test");
  const Status status = writer.Finish();
  EXPECT_TRUE(status.ok()) << status.ToString();
  return sink.bytes;
}

Result<Index> Open(ByteSpan bytes) {
  NWC_ASSIGN_OR_RETURN(
      const Superblock s,
      ParseSuperblock(bytes.first(std::min<size_t>(bytes.size(), 4096)), bytes.size()));
  // As a loader does: an aligned copy of the index alone.
  const std::vector<uint64_t> aligned((s.index_size + 7) / 8);
  auto* copy = const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(aligned.data()));
  std::copy_n(bytes.begin() + static_cast<ptrdiff_t>(s.index_offset), s.index_size, copy);
  return ParseIndex({copy, s.index_size}, s);
}

TEST(Container, ReadsWhatItWrote) {
  const auto bytes = SmallContainer();
  const auto index = Open(bytes);
  ASSERT_TRUE(index.ok()) << index.status().ToString();
  ASSERT_EQ(index->tensors.size(), 1u);
  const TensorInfo& t = index->tensors[0];
  EXPECT_EQ(t.name, "layers.0.weight");
  EXPECT_EQ(t.chunks.size(), 2u);
  EXPECT_EQ(t.Tile(1).row_begin, 2u);
  EXPECT_EQ(t.Tile(1).rows(), 1u);
  EXPECT_EQ(bytes[t.chunks[1].offset], 2);
  EXPECT_EQ(index->files[0].name, "config.json");
  EXPECT_EQ(index->codecs[0].tables.frequencies, DefaultCodec().tables.frequencies);
  EXPECT_EQ(index->shards[0].metadata, "{}");
}

TEST(Container, SameInputGivesTheSameBytes) { EXPECT_EQ(SmallContainer(), SmallContainer()); }

TEST(Container, EveryTruncationIsRejected) {
  const auto bytes = SmallContainer();
  for (size_t n = 0; n < bytes.size(); ++n) {
    const auto index = Open(ByteSpan(bytes).first(n));
    ASSERT_FALSE(index.ok());
    EXPECT_EQ(index.status().rule(), n < 4096 ? 1 : 5);
  }
}

TEST(Container, EveryFlipOfMetadataIsRejected) {
  auto bytes = SmallContainer();
  const auto index = Open(bytes);
  ASSERT_TRUE(index.ok());
  const auto superblock = ParseSuperblock(ByteSpan(bytes).first(4096), bytes.size());
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i >= 4096 && i < superblock->index_offset) continue;
    bytes[i] ^= 0x40;
    EXPECT_FALSE(Open(bytes).ok()) << i;
    bytes[i] ^= 0x40;
  }
}

// Breaks one thing in a valid index, hashes it again and expects the rule.
int RuleAfter(const std::function<void(Index*)>& change) {
  const auto bytes = SmallContainer();
  auto index = Open(bytes);
  change(&*index);
  const auto serialized = SerializeIndex(*index);
  auto s = *ParseSuperblock(ByteSpan(bytes).first(4096), bytes.size());
  s.index_size = serialized.size();
  s.file_size = s.index_offset + s.index_size;
  s.root_hash = Hash128Of(serialized);
  return ParseIndex(serialized, s).status().rule();
}

TEST(Container, EachIndexRuleHasItsNumber) {
  const auto tensor = [](auto change) {
    return RuleAfter([&](Index* index) { change(&index->tensors[0]); });
  };
  EXPECT_EQ(RuleAfter([](Index*) {}), 0);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->name.clear(); }), 9);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->name = "__metadata__"; }), 9);
  for (const char* bad : {"\xFF", "a\xC0\x80", "\xED\xA0\x80", "\xE2\x82", "\xF4\x90\x80\x80"}) {
    EXPECT_EQ(tensor([&](TensorInfo* t) { t->name = bad; }), 9) << bad;
  }
  EXPECT_EQ(tensor([](TensorInfo* t) { t->name = "gew\xC3\xAA\xE2\x82\xAC\xF0\x9F\x98\x80"; }), 0);
  EXPECT_EQ(RuleAfter([](Index* i) { i->tensors.push_back(i->tensors[0]); }), 9);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->shape.assign(9, 1); }), 10);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->shape = {1ull << 40, 1ull << 40}; }), 10);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->shape = {1ull << 40, 1ull << 40, 0}; }), 10);
  EXPECT_EQ(tensor([](TensorInfo* t) {
              t->dtype = DType::kF64;
              t->shape = {1ull << 46, 0};
            }),
            10);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->dtype = static_cast<DType>(15); }), 11);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->profile_value = 1; }), 12);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->rows = 4; }), 13);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->tile_rows = 0; }), 13);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->tile_columns = 4; }), 13);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->tile_rows = 1; }), 14);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->chunks[1].offset = t->chunks[0].offset; }), 15);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->chunks[1].offset += 1; }), 15);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->chunks[1].offset += 8192; }), 15);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->chunks[1].offset = UINT64_MAX - 3; }), 15);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->chunks[1].size = 4; }), 16);
  EXPECT_EQ(tensor([](TensorInfo* t) {
              t->stream = StreamInfo{0, 2, 1.0f, 0, 0, {4120, 0, 0}, false};
            }),
            17);
  EXPECT_EQ(RuleAfter([](Index* i) { i->codecs[0].tables.frequencies[3][0] += 1; }), 18);
  EXPECT_EQ(RuleAfter([](Index* i) { i->files[0].name = "../evil"; }), 19);
  EXPECT_EQ(RuleAfter([](Index* i) { i->shards[0].name = "config.json"; }), 19);
  EXPECT_EQ(tensor([](TensorInfo* t) { t->shard = 1; }), 19);
}

TEST(LayerNumber, IsTheFirstIntegerBetweenDots) {
  EXPECT_EQ(LayerNumber("model.layers.11.mlp.experts.3.weight"), 11u);
  EXPECT_EQ(LayerNumber("encoder.layer.0.output"), 0u);
  EXPECT_EQ(LayerNumber("lm_head.weight"), std::nullopt);
  EXPECT_EQ(LayerNumber("conv1.weight"), std::nullopt);
}

}  // namespace
}  // namespace nwc
