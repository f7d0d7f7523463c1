// What a loader does with damaged, cut and foreign files.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "loader/loader.h"
#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

class LoaderDamage : public testing::TestWithParam<IoMode> {
 protected:
  void SetUp() override {
    AddMixedTensors(&builder_);
    bytes_ = builder_.Finish();
    file_ = std::make_unique<TemporaryFile>(bytes_);
  }

  std::unique_ptr<Loader> Open(LoadOptions options = {}) {
    options.io = GetParam();
    options.threads = 2;
    auto loader = Loader::Open(file_->path(), options);
    EXPECT_TRUE(loader.ok()) << loader.status().ToString();
    return std::move(*loader);
  }

  // Streams everything and throws it away.
  static Status Drain(const Loader& loader) {
    return loader.Stream(loader.All(), [](Tensor) -> Status { return {}; });
  }

  static void ExpectMentions(const Status& status, const std::string& what) {
    EXPECT_NE(status.message().find(what), std::string::npos) << status.ToString();
  }

  ContainerBuilder builder_;
  std::vector<uint8_t> bytes_;
  std::unique_ptr<TemporaryFile> file_;
};

TEST_P(LoaderDamage, AFlippedChunkByteIsR20AndNamesThePlace) {
  const auto loader = Open();
  const Chunk& chunk = loader->index().tensors[5].chunks[6];
  file_->FlipByte(chunk.offset + 40);
  for (const Status& status : {loader->Load(size_t{5}).status(), Drain(*loader)}) {
    EXPECT_EQ(status.code(), ErrorCode::kCorrupt);
    EXPECT_EQ(status.rule(), 20);
    ExpectMentions(status, file_->path() +
                               ": tensor 'layers.0.k.weight' chunk 6 (rows 128..256, "
                               "columns 64..96) at byte " +
                               std::to_string(chunk.offset) + ": hash ");
    ExpectMentions(status, "the file is damaged: fetch it again");
  }
  EXPECT_TRUE(loader->Load(size_t{4}).ok());
}

TEST_P(LoaderDamage, FlippedSideInformationIsR21) {
  const auto loader = Open();
  file_->FlipByte(loader->index().tensors[1].stream->side.offset + 9);
  const Status status = Drain(*loader);
  EXPECT_EQ(status.rule(), 21);
  ExpectMentions(status, "tensor 'layers.0.q.weight' side information at byte ");
}

// It may be a read of no bytes, which no system call answers.
TEST_P(LoaderDamage, EmptySideInformationIsR22) {
  ContainerBuilder builder;
  builder.DropSideInfo();
  builder.AddStream("x", DType::kBF16, {64, 64, 64, 64});
  const TemporaryFile file(builder.Finish());
  LoadOptions options;
  options.io = GetParam();
  for (const size_t budget : {size_t{builder.index().tensors[0].chunks[0].size}, size_t{1} << 20}) {
    options.staging_bytes = budget;
    const auto loader = Loader::Open(file.path(), options);
    ASSERT_TRUE(loader.ok());
    EXPECT_EQ((*loader)->Load("x").status().rule(), 22);
  }
}

TEST_P(LoaderDamage, WithoutVerificationAFlipNeverCrashes) {
  LoadOptions options;
  options.verify = false;
  const auto loader = Open(options);
  for (size_t i = 0; i < builder_.count(); ++i) {
    for (const Chunk& chunk : loader->index().tensors[i].chunks) {
      for (uint64_t at = 0; at < chunk.size; at += 1 + chunk.size / 3) {
        file_->FlipByte(chunk.offset + at);
        const auto tensor = loader->Load(i);
        EXPECT_TRUE(tensor.ok() || tensor.status().code() == ErrorCode::kCorrupt);
        file_->FlipByte(chunk.offset + at);
      }
    }
  }
}

TEST_P(LoaderDamage, AFileCutWhileOpenIsAnIoError) {
  for (const uint64_t size : {bytes_.size() / 2 + 7, size_t{4096}, size_t{0}}) {
    TemporaryFile file(bytes_);
    LoadOptions options;
    options.io = GetParam();
    const auto loader = Loader::Open(file.path(), options);
    ASSERT_TRUE(loader.ok());
    file.Truncate(size);
    const Status status = Drain(**loader);
    EXPECT_EQ(status.code(), ErrorCode::kIo);
    ExpectMentions(status, file.path() + ": ends at byte ");
    ExpectMentions(status, "truncated or replaced while open");
  }
}

TEST_P(LoaderDamage, WrongDecodedBytesAreR29WhenAskedFor) {
  ContainerBuilder builder;
  builder.SpoilDecodedHash();
  builder.AddExact("x", DType::kBF16, {10, 10, 3, 10});
  builder.SpoilDecodedHash();
  builder.AddEmpty("empty");
  const auto bytes = builder.Finish();
  for (const bool deep : {false, true}) {
    LoadOptions options;
    options.verify_decoded = deep;
    const auto loader = Loader::OpenMemory(bytes, options);
    ASSERT_TRUE(loader.ok());
    for (const char* name : {"x", "empty"}) {
      const Status status = (*loader)->Load(name).status();
      EXPECT_EQ(status.rule(), deep ? 29 : 0) << status.ToString();
    }
  }
}

TEST_P(LoaderDamage, AFlippedMetadataFileIsR30) {
  const auto loader = Open();
  file_->FlipByte(loader->index().files[0].extent.offset);
  const auto content = loader->LoadFile(0);
  EXPECT_EQ(content.status().rule(), 30);
  ExpectMentions(content.status(), "'config.json'");
}

INSTANTIATE_TEST_SUITE_P(Readers, LoaderDamage,
                         testing::Values(IoMode::kPread, IoMode::kAuto, IoMode::kDirect,
                                         IoMode::kMmap),
                         [](const auto& io) { return std::string(IoModeName(io.param)); });

Status OpenStatus(const std::string& path) { return Loader::Open(path, {}).status(); }

TEST(LoaderOpen, AMissingFileIsNotFound) {
  const std::string path = testing::TempDir() + "nwc_no_such_file";
  const Status status = OpenStatus(path);
  EXPECT_EQ(status.code(), ErrorCode::kNotFound);
  EXPECT_EQ(status.message(), path + ": cannot open: No such file or directory");
}

TEST(LoaderOpen, ADirectoryIsAUsageError) {
  const Status status = OpenStatus(testing::TempDir());
  EXPECT_EQ(status.code(), ErrorCode::kUsage);
  EXPECT_NE(status.message().find("is a directory"), std::string::npos);
}

TEST(LoaderOpen, APipeIsAUsageErrorAndDoesNotBlock) {
  const std::string path = testing::TempDir() + "nwc_pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(OpenStatus(path).code(), ErrorCode::kUsage);
  ASSERT_EQ(remove(path.c_str()), 0);
}

TEST(LoaderOpen, AnEmptyFileIsR1) {
  const TemporaryFile file{ByteSpan()};
  const Status status = OpenStatus(file.path());
  EXPECT_EQ(status.rule(), 1);
  EXPECT_EQ(status.message().find(file.path()), 0u);
}

TEST(LoaderOpen, ACutFileIsR5) {
  ContainerBuilder builder;
  builder.AddScalar("x");
  const auto bytes = builder.Finish();
  const TemporaryFile file(ByteSpan(bytes).first(bytes.size() - 1));
  EXPECT_EQ(OpenStatus(file.path()).rule(), 5);
}

TEST(LoaderOpen, ADamagedIndexIsR7) {
  ContainerBuilder builder;
  builder.AddScalar("x");
  auto bytes = builder.Finish();
  bytes.back() ^= 1;
  const auto loader = Loader::OpenMemory(bytes, {});
  EXPECT_EQ(loader.status().rule(), 7);
  EXPECT_EQ(Loader::OpenMemory({}, {}).status().rule(), 1);
}

}  // namespace
}  // namespace nwc
