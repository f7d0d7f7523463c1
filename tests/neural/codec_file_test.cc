#include "tools/codec_file.h"

#include <gtest/gtest.h>

#include "format/neural_codec.h"
#include "tests/neural/test_models.h"
#include "tests/tools/temporary_folder.h"

namespace nwc {
namespace {

CodecFile Example() {
  CodecFile codec{QuickTraining().model, "{\"steps\":400}"};
  codec.model.synthesis.name = "a name";
  return codec;
}

std::string AsText(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

TEST(CodecFile, ReadsWhatItWrote) {
  const CodecFile codec = Example();
  const TemporaryFolder folder;
  const std::string bytes = AsText(SerializeCodecFile(codec));
  folder.Write("c.safetensors", bytes);
  const auto read = ReadCodecFile(folder.Path("c.safetensors"));
  ASSERT_TRUE(read.ok()) << read.status().ToString();
  EXPECT_EQ(read->model.synthesis.name, "a name");
  EXPECT_EQ(read->training, codec.training);
  EXPECT_EQ(*SerializeNeuralCodec(read->model.synthesis),
            *SerializeNeuralCodec(codec.model.synthesis));
  EXPECT_EQ(read->model.expected_mse, codec.model.expected_mse);
  EXPECT_EQ(AsText(SerializeCodecFile(*read)), bytes);
}

TEST(CodecFile, RejectsOtherFiles) {
  const TemporaryFolder folder;
  CodecFile codec = Example();
  codec.model.analysis.block.pop_back();
  folder.Write("c.safetensors", AsText(SerializeCodecFile(codec)));
  const Status unfit = ReadCodecFile(folder.Path("c.safetensors")).status();
  codec = Example();
  codec.model.synthesis.tables.pop_back();
  folder.Write("d.safetensors", AsText(SerializeCodecFile(codec)));
  const Status no_table = ReadCodecFile(folder.Path("d.safetensors")).status();
  EXPECT_FALSE(no_table.ok());
  EXPECT_NE(no_table.message().find("d.safetensors"), std::string::npos) << no_table.message();
  // A net with fewer blocks is another codec, and a valid one.
  EXPECT_TRUE(unfit.ok()) << unfit.ToString();
  EXPECT_EQ(ReadCodecFile("tests/data/minilm_layer").ok(), false);
}

}  // namespace
}  // namespace nwc
