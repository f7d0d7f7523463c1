// Every byte of small containers, of each profile, with a bit turned over: the loader finds it, or
// it changes nothing.
#include <gtest/gtest.h>

#include <fstream>
#include <iostream>
#include <iterator>

#include "loader/loader.h"

namespace nwc {
namespace {

// All of them take minutes under AddressSanitizer; every seventh still comes to each of the bits.
#ifdef NWC_SANITIZED
constexpr size_t kStride = 7;
#else
constexpr size_t kStride = 1;
#endif

std::vector<uint8_t> ReadGolden(const std::string& name) {
  std::ifstream file(std::string(GOLDEN_VALID_FOLDER) + "/" + name + ".nwc", std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// All that a container gives its reader.
struct Content {
  std::vector<std::string> descriptions;       // of tensors, files and shards
  std::vector<std::vector<uint8_t>> contents;  // of tensors and files
  bool operator==(const Content&) const = default;
};

std::string Description(const TensorInfo& tensor) {
  std::string text = tensor.name + " " + DTypeName(tensor.dtype) + " " +
                     std::to_string(tensor.shard) + (tensor.linear ? " linear" : "");
  for (const uint64_t d : tensor.shape) text += " " + std::to_string(d);
  return text;
}

enum class Found { kAtOpen, kAtLoad, kNothing };

// kNothing: `content` is all of it.
Found ReadAll(const std::vector<uint8_t>& bytes, Content* content, Status* status) {
  LoadOptions options;
  options.threads = 1;
  const auto loader = Loader::OpenMemory(bytes, options);
  *status = loader.status();
  if (!loader.ok()) return Found::kAtOpen;
  const Index& index = (*loader)->index();
  for (const ShardInfo& shard : index.shards) {
    content->descriptions.push_back(shard.name + " " + shard.metadata);
  }
  for (const TensorInfo& tensor : index.tensors) {
    content->descriptions.push_back(Description(tensor));
  }
  *status = (*loader)->Stream((*loader)->All(), [&](Tensor tensor) -> Status {
    content->contents.emplace_back(tensor.bytes.span().begin(), tensor.bytes.span().end());
    return {};
  });
  for (size_t i = 0; status->ok() && i < index.files.size(); ++i) {
    const auto file = (*loader)->LoadFile(i);
    *status = file.status();
    content->descriptions.push_back(index.files[i].name);
    if (file.ok()) content->contents.push_back(*file);
  }
  return status->ok() ? Found::kNothing : Found::kAtLoad;
}

class EveryByte : public testing::TestWithParam<const char*> {};

TEST_P(EveryByte, IsCheckedOrDoesNotMatter) {
  std::vector<uint8_t> bytes = ReadGolden(GetParam());
  Content whole;
  Status status;
  ASSERT_EQ(ReadAll(bytes, &whole, &status), Found::kNothing) << status.ToString();
  size_t at_open = 0, at_load = 0, harmless = 0;
  for (size_t at = 0; at < bytes.size(); at += kStride) {
    const auto bit = static_cast<uint8_t>(1u << at % 8);
    bytes[at] ^= bit;
    Content content;
    const Found found = ReadAll(bytes, &content, &status);
    bytes[at] ^= bit;
    if (found == Found::kNothing) {
      ++harmless;
      ASSERT_TRUE(content == whole) << "byte " << at << " changes what is read and is not found";
      continue;
    }
    ++(found == Found::kAtOpen ? at_open : at_load);
    // An old file of a newer version, as far as one byte can tell, is kUnsupported.
    const bool typed =
        status.code() == ErrorCode::kCorrupt || status.code() == ErrorCode::kUnsupported;
    ASSERT_TRUE(typed) << "byte " << at << ": " << status.ToString();
    ASSERT_NE(status.message().find("(memory)"), std::string::npos) << status.ToString();
  }
  EXPECT_GT(at_open, 0u);
  EXPECT_GT(at_load, 0u);
  RecordProperty("found_at_open", std::to_string(at_open));
  RecordProperty("found_at_load", std::to_string(at_load));
  RecordProperty("harmless", std::to_string(harmless));
  std::cout << GetParam() << ": " << bytes.size() << " bytes: " << at_open << " found at open, "
            << at_load << " at load, " << harmless << " do not matter\n";
}

INSTANTIATE_TEST_SUITE_P(Containers, EveryByte,
                         testing::Values("raw_dtypes", "exact", "trellises", "neural_not_finite",
                                         "files_and_shards", "scalar_and_empty"),
                         [](const auto& name) { return std::string(name.param); });

}  // namespace
}  // namespace nwc
