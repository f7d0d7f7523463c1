// Slices of tensors: the same bits as the whole tensor has there, and only their chunks read.
#include <gtest/gtest.h>

#include <filesystem>
#include <numeric>

#include "tests/loader/container_builder.h"
#include "tests/loader/slice_support.h"

namespace nwc {
namespace {

class SliceTest : public testing::Test {
 protected:
  // A mixed container, unless tensors were added before.
  std::unique_ptr<Loader> Open(const LoadOptions& options = {}) {
    if (bytes_.empty()) {
      if (builder_->count() == 0) AddMixedTensors(builder_.get());
      bytes_ = builder_->Finish();
    }
    auto source = std::make_unique<CountingSource>(bytes_, &bytes_read_);
    auto loader = Loader::OpenSource(std::move(source), options);
    EXPECT_TRUE(loader.ok()) << loader.status().ToString();
    return std::move(*loader);
  }

  // The slices arrive in order with the right bytes, and nothing else is read.
  LoadStatistics ExpectStreams(const Loader& loader, const std::vector<TensorRequest>& requests) {
    size_t arrived = 0;
    uint64_t touched = 0, decoded = 0;
    LoadStatistics statistics;
    const uint64_t read_before = bytes_read_;
    const auto ready = [&](Tensor tensor) -> Status {
      const TensorInfo& info = loader.index().tensors[tensor.number];
      const TensorRequest& request = requests[arrived++];
      EXPECT_EQ(tensor.number, request.number);
      const auto slice = ResolveSlice(info, request.slice);
      EXPECT_TRUE(slice.ok() && tensor.slice == *slice) << info.name;
      EXPECT_EQ(BytesOf(tensor), CutOut(info, builder_->expected(tensor.number), tensor.slice))
          << info.name << " rows " << tensor.slice.row_begin << ".." << tensor.slice.row_end
          << " columns " << tensor.slice.column_begin << ".." << tensor.slice.column_end;
      touched += TouchedBytes(info, tensor.slice);
      decoded += tensor.bytes.size();
      return {};
    };
    const Status status = loader.Stream(requests, ready, &statistics);
    EXPECT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(arrived, requests.size());
    EXPECT_EQ(statistics.bytes_read, touched);
    EXPECT_EQ(bytes_read_ - read_before, touched);
    EXPECT_EQ(statistics.bytes_decoded, decoded);
    return statistics;
  }

  std::vector<TensorRequest> RandomRequests(const Loader& loader, std::mt19937* rng) const {
    std::vector<size_t> order = loader.All();
    std::shuffle(order.begin(), order.end(), *rng);
    std::vector<TensorRequest> requests;
    for (const size_t number : order) {
      if ((*rng)() % 4 == 0) continue;
      requests.push_back({number, RandomSlice(loader.index().tensors[number], rng)});
    }
    return requests;
  }

  std::unique_ptr<ContainerBuilder> builder_ = std::make_unique<ContainerBuilder>();
  std::vector<uint8_t> bytes_;
  std::atomic<uint64_t> bytes_read_ = 0;
};

// Random shapes, tiles and dtypes of the three profiles that need no net.
void AddRandomTensors(ContainerBuilder* builder, std::mt19937* rng) {
  std::uniform_int_distribution<uint32_t> side(1, 150), tile(1, 70);
  for (int i = 0; i < 12; ++i) {
    const DType dtype = std::array{DType::kF16, DType::kBF16, DType::kF32}[(*rng)() % 3];
    const MatrixShape shape{side(*rng), side(*rng), tile(*rng), tile(*rng)};
    const std::string name = "t" + std::to_string((*rng)());
    const auto columns = static_cast<uint32_t>(shape.columns);
    if (i % 3 == 0) builder->AddStream(name, dtype, shape);
    if (i % 3 == 1) builder->AddExact(name, dtype, {shape.rows, columns, shape.tile_rows, columns});
    if (i % 3 == 2) builder->AddRaw(name, dtype, {shape.rows, columns, shape.tile_rows, columns});
  }
}

TEST_F(SliceTest, ThousandsOfSlicesEqualTheWholeDecode) {
  std::mt19937 rng(1);
  size_t slices = 0;
  for (int container = 0; container < 12; ++container) {
    builder_ = std::make_unique<ContainerBuilder>();
    bytes_.clear();
    AddRandomTensors(builder_.get(), &rng);
    for (const Simd simd : {Simd::kScalar, BestSimd()}) {
      LoadOptions options;
      options.simd = simd;
      options.threads = 2;
      options.verify_decoded = true;
      const auto loader = Open(options);
      for (int round = 0; round < 20; ++round) {
        const auto requests = RandomRequests(*loader, &rng);
        ExpectStreams(*loader, requests);
        slices += requests.size();
      }
    }
  }
  EXPECT_GT(slices, 3000u);
}

TEST_F(SliceTest, StagingStaysWithinItsBudgetInAnyOrder) {
  LoadOptions options;
  options.threads = 2;
  const auto largest = [&](const Loader& loader) {
    uint64_t bytes = 0;
    for (const TensorInfo& t : loader.index().tensors) {
      for (const Chunk& c : t.chunks) bytes = std::max<uint64_t>(bytes, c.size);
      if (t.side() != nullptr) bytes = std::max(bytes, t.side()->size);
    }
    return bytes;
  };
  std::mt19937 rng(2);
  for (const size_t spare : {size_t{0}, size_t{1000}, size_t{50000}}) {
    options.staging_bytes = largest(*Open()) + spare;
    const auto loader = Open(options);
    for (int round = 0; round < 30; ++round) {
      const auto requests = RandomRequests(*loader, &rng);
      EXPECT_LE(ExpectStreams(*loader, requests).peak_staging_bytes, options.staging_bytes);
    }
  }
}

TEST_F(SliceTest, ABudgetBelowATouchedChunkIsNamed) {
  builder_->AddRaw("large", DType::kU8, {64, 1000, 8, 1000});
  LoadOptions options;
  options.staging_bytes = 7999;
  const auto tensor = Open(options)->Load("large", {20, 21, 5, 6});
  ASSERT_FALSE(tensor.ok());
  EXPECT_EQ(tensor.status().code(), ErrorCode::kUsage);
  EXPECT_NE(tensor.status().message().find("'large' chunk 2"), std::string::npos)
      << tensor.status().ToString();
  EXPECT_NE(tensor.status().message().find("at least 8000"), std::string::npos);
}

TEST_F(SliceTest, LoadGivesTheSliceItWasAskedFor) {
  const auto loader = Open();
  const auto rows = loader->Load("embed.weight", {.row_begin = 100, .row_end = 130});
  ASSERT_TRUE(rows.ok()) << rows.status().ToString();
  EXPECT_EQ(rows->slice, (TensorSlice{100, 130, 0, 128}));
  EXPECT_EQ(rows->info.rows, 300u);
  EXPECT_EQ(BytesOf(*rows), CutOut(rows->info, builder_->expected(0), rows->slice));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(rows->bytes.data()) % 64, 0u);
  const auto whole = loader->Load(size_t{1});
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->slice, (TensorSlice{0, 200, 0, 96}));
}

TEST_F(SliceTest, SlicesOutsideOrEmptyNameTensorShapeAndSlice) {
  const auto loader = Open();
  const uint64_t read_before = bytes_read_;
  for (const TensorSlice& slice :
       {TensorSlice{0, 201, 0, 96}, TensorSlice{5, 5, 0, 96}, TensorSlice{6, 5, 0, 96},
        TensorSlice{0, 200, 0, 97}, TensorSlice{200, TensorSlice::kEnd, 0, 96},
        TensorSlice{0, 200, 96, 96}}) {
    const auto tensor = loader->Load("layers.0.q.weight", slice);
    ASSERT_FALSE(tensor.ok());
    EXPECT_EQ(tensor.status().code(), ErrorCode::kUsage);
    const std::string& message = tensor.status().message();
    EXPECT_NE(message.find("'layers.0.q.weight' of shape [200, 96]"), std::string::npos) << message;
    EXPECT_NE(message.find("rows " + std::to_string(slice.row_begin) + ".."), std::string::npos);
  }
  EXPECT_FALSE(loader->Load("layers.0.nothing", {0, 0, 0, 3}).ok());
  EXPECT_TRUE(loader->Load("layers.0.nothing", {}).ok());
  EXPECT_TRUE(loader->Load("layers.0.scale", {0, 1, 0, 1}).ok());
  const std::vector<TensorRequest> twice = {{1, {0, 1}}, {1, {1, 2}}};
  EXPECT_EQ(loader->Stream(twice, [](Tensor) { return Status(); }).code(), ErrorCode::kUsage);
  EXPECT_EQ(bytes_read_, read_before + sizeof(float));  // the scalar's
}

TEST_F(SliceTest, DamageOutsideTheSliceDoesNotMatterAndInsideItIsFound) {
  builder_->AddStream("w", DType::kBF16, {128, 64, 32, 32});
  const auto intact = Open();
  const Chunk& spoilt = intact->index().tensors[0].chunks[3];  // rows 32..64, columns 32..64
  bytes_[spoilt.offset + 150] ^= 1;
  const auto loader = Open();
  EXPECT_TRUE(loader->Load("w", {.column_end = 32}).ok());
  EXPECT_TRUE(loader->Load("w", {.row_begin = 64}).ok());
  const auto damaged = loader->Load("w", {63, 64, 63, 64});
  EXPECT_EQ(damaged.status().rule(), 20) << damaged.status().ToString();
}

TEST_F(SliceTest, DecodedHashesAreCheckedForWholeTensorsOnly) {
  builder_->SpoilDecodedHash();
  builder_->AddRaw("w", DType::kF32, {8, 8, 2, 8});
  LoadOptions options;
  options.verify_decoded = true;
  const auto loader = Open(options);
  EXPECT_EQ(loader->Load("w", {0, 8, 0, 8}).status().rule(), 29);
  EXPECT_TRUE(loader->Load("w", {0, 7, 0, 8}).ok());
}

// Whole chunks lie between those of a column slice: they are no gap to be read through.
TEST_F(SliceTest, AFileIsReadInChunksAndPaddingOnly) {
  builder_->AddStream("w", DType::kBF16, {1024, 256, 256, 128});
  Open();
  const TemporaryFile file(bytes_);
  for (const IoMode io : {IoMode::kPread, IoMode::kAuto}) {
    LoadOptions options;
    options.io = io;
    const auto loader = Loader::Open(file.path(), options);
    ASSERT_TRUE(loader.ok()) << loader.status().ToString();
    const TensorRequest half{0, {.column_begin = 128}};
    LoadStatistics statistics;
    const Status status = (*loader)->Stream(
        std::span(&half, 1),
        [&](Tensor tensor) -> Status {
          EXPECT_EQ(BytesOf(tensor), CutOut(tensor.info, builder_->expected(0), tensor.slice));
          return {};
        },
        &statistics);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_EQ(statistics.bytes_read,
              TouchedBytes((*loader)->index().tensors[0], {0, 1024, 128, 256}));
    EXPECT_EQ(statistics.reads, 5u);  // side information and four chunks
  }
}

// Every profile, nets included.
TEST(GoldenSlices, EqualTheWholeTensors) {
  std::mt19937 rng(3);
  size_t neural = 0;
  for (const auto& entry : std::filesystem::directory_iterator(GOLDEN_VALID_FOLDER)) {
    if (entry.path().extension() != ".nwc") continue;
    const auto loader = Loader::Open(entry.path(), {});
    ASSERT_TRUE(loader.ok()) << loader.status().ToString();
    for (size_t i = 0; i < (*loader)->index().tensors.size(); ++i) {
      const TensorInfo& info = (*loader)->index().tensors[i];
      if (!info.supported() || info.weights() == 0) continue;
      const auto whole = (*loader)->Load(i);
      ASSERT_TRUE(whole.ok()) << whole.status().ToString();
      for (int round = 0; round < 8; ++round) {
        const auto part = (*loader)->Load(i, RandomSlice(info, &rng));
        ASSERT_TRUE(part.ok()) << part.status().ToString();
        EXPECT_EQ(BytesOf(*part), CutOut(info, BytesOf(*whole), part->slice))
            << entry.path() << " " << info.name;
        neural += info.profile() == Profile::kNwc ? 1 : 0;
      }
    }
  }
  EXPECT_GT(neural, 30u);
}

}  // namespace
}  // namespace nwc
