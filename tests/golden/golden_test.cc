// The loader on the golden files: valid ones decode to the listed hashes, invalid ones are rejected
// with the rule in their name.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "format/checksum.h"
#include "loader/loader.h"
#include "tests/support/golden_files.h"

namespace nwc {
namespace {

using Path = std::filesystem::path;

std::string TestName(const testing::TestParamInfo<Path>& info) { return info.param.stem(); }

LoadOptions Options(Simd simd) {
  LoadOptions options;
  options.simd = simd;
  options.threads = 2;
  options.verify_decoded = true;
  return options;
}

class ValidGolden : public testing::TestWithParam<Path> {
 protected:
  void LoadsEverything(Simd simd) {
    auto loader = Loader::Open(GetParam(), Options(simd));
    ASSERT_TRUE(loader.ok()) << loader.status().ToString();
    std::ifstream listing(Path(GetParam()).replace_extension("json"));
    const auto tensors = nlohmann::json::parse(listing).at("tensors");
    ASSERT_EQ((*loader)->index().tensors.size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) IsListed(**loader, i, tensors[i]);
    for (size_t i = 0; i < (*loader)->index().files.size(); ++i) {
      const auto file = (*loader)->LoadFile(i);
      EXPECT_TRUE(file.ok()) << file.status().ToString();
    }
  }

  static void IsListed(const Loader& loader, size_t number, const nlohmann::json& listed) {
    const TensorInfo& info = loader.index().tensors[number];
    EXPECT_EQ(info.name, listed.at("name").get<std::string>());
    EXPECT_EQ(DTypeName(info.dtype), listed.at("dtype").get<std::string>());
    EXPECT_EQ(info.shape, listed.at("shape").get<std::vector<uint64_t>>());
    const auto tensor = loader.Load(number);
    if (listed.at("profile").is_null()) {
      ASSERT_FALSE(tensor.ok());
      EXPECT_EQ(tensor.status().code(), ErrorCode::kUnsupported);
      return;
    }
    ASSERT_TRUE(tensor.ok()) << tensor.status().ToString();
    EXPECT_EQ(ProfileName(info.profile()), listed.at("profile").get<std::string>());
    EXPECT_EQ(ToHex(Hash128Of(tensor->bytes.span())),
              listed.at("decoded_xxh3_128").get<std::string>())
        << info.name;
  }
};

TEST_P(ValidGolden, LoadsWithScalarCode) { LoadsEverything(Simd::kScalar); }

TEST_P(ValidGolden, LoadsWithAvx2) {
  if (BestSimd() < Simd::kAvx2) GTEST_SKIP() << "no AVX2 here";
  LoadsEverything(Simd::kAvx2);
}

TEST_P(ValidGolden, LoadsWithAvx512) {
  if (BestSimd() < Simd::kAvx512) GTEST_SKIP() << "no AVX-512 here";
  LoadsEverything(Simd::kAvx512);
}

INSTANTIATE_TEST_SUITE_P(Files, ValidGolden, testing::ValuesIn(GoldenContainers("valid")),
                         TestName);

// The first error that opening and loading everything meets.
Status FirstError(const Path& path, Simd simd) {
  NWC_ASSIGN_OR_RETURN(const auto loader, Loader::Open(path, Options(simd)));
  NWC_RETURN_IF_ERROR(loader->Stream(loader->All(), [](Tensor) { return Status(); }));
  for (size_t i = 0; i < loader->index().files.size(); ++i) {
    if (auto file = loader->LoadFile(i); !file.ok()) return file.status();
  }
  return {};
}

class InvalidGolden : public testing::TestWithParam<Path> {
 protected:
  // The rule in the file's name: R07_root_hash.nwc.
  [[nodiscard]] int rule() const { return std::stoi(GetParam().stem().string().substr(1, 2)); }

  void IsRejected(Simd simd) {
    const Status status = FirstError(GetParam(), simd);
    // Padding is left to `nwc verify` (reference_test.py).
    if (rule() == 31) {
      EXPECT_TRUE(status.ok()) << status.ToString();
      return;
    }
    EXPECT_EQ(status.code(), ErrorCode::kCorrupt) << status.ToString();
    EXPECT_EQ(status.rule(), rule()) << status.ToString();
  }
};

TEST_P(InvalidGolden, IsRejectedByScalarCode) { IsRejected(Simd::kScalar); }

TEST_P(InvalidGolden, IsRejectedWithAvx2) {
  if (BestSimd() < Simd::kAvx2) GTEST_SKIP() << "no AVX2 here";
  IsRejected(Simd::kAvx2);
}

TEST_P(InvalidGolden, IsRejectedWithAvx512) {
  if (BestSimd() < Simd::kAvx512) GTEST_SKIP() << "no AVX-512 here";
  IsRejected(Simd::kAvx512);
}

INSTANTIATE_TEST_SUITE_P(Files, InvalidGolden, testing::ValuesIn(GoldenContainers("invalid")),
                         TestName);

TEST(GoldenFiles, ThereIsAnInvalidOneForEachRule) {
  std::vector<bool> seen(39);
  for (const Path& path : GoldenContainers("invalid")) {
    seen.at(static_cast<size_t>(std::stoi(path.stem().string().substr(1, 2)))) = true;
  }
  for (size_t rule = 1; rule <= 38; ++rule) EXPECT_TRUE(seen[rule]) << "R" << rule;
}

}  // namespace
}  // namespace nwc
