// Containers made in memory, with what their tensors must decode to; temporary files. For tests.
#pragma once

#include <string>
#include <vector>

#include "format/format.h"
#include "loader/loader.h"
#include "tests/support/keeping_sink.h"

namespace nwc {

struct MatrixShape {
  uint64_t rows, columns;
  uint32_t tile_rows, tile_columns;  // the latter matters to stream only
};

// Tensors with reproducible contents, in the order they are added.
class ContainerBuilder {
 public:
  ContainerBuilder();

  void AddFile(const std::string& name, const std::string& content);
  void AddRaw(const std::string& name, DType dtype, const MatrixShape& shape);
  void AddExact(const std::string& name, DType dtype, const MatrixShape& shape);
  void AddStream(const std::string& name, DType dtype, const MatrixShape& shape);
  void AddScalar(const std::string& name);  // 0 dimensions, F32
  void AddEmpty(const std::string& name);   // shape {0, 16}
  // A profile no build knows, with some payload.
  void AddUnknownProfile(const std::string& name);
  // The next tensor gets a wrong decoded hash, or side information of no bytes.
  void SpoilDecodedHash() { spoil_decoded_hash_ = true; }
  void DropSideInfo() { drop_side_info_ = true; }

  void SetOptions(std::string json) { writer_.SetOptions(std::move(json)); }

  std::vector<uint8_t> Finish();

  [[nodiscard]] const Index& index() const { return writer_.index(); }
  // What tensor `number` decodes to.
  [[nodiscard]] const std::vector<uint8_t>& expected(size_t number) const {
    return expected_[number];
  }
  [[nodiscard]] size_t count() const { return expected_.size(); }

 private:
  void Add(TensorInfo info, ByteSpan side, const std::vector<std::vector<uint8_t>>& chunks,
           std::vector<uint8_t> expected);

  KeepingSink sink_;
  ContainerWriter writer_;
  std::vector<std::vector<uint8_t>> expected_;
  bool spoil_decoded_hash_ = false;
  bool drop_side_info_ = false;
};

// One tensor of every profile and several sizes, a scalar and an empty one.
void AddMixedTensors(ContainerBuilder* builder);

// A file that is gone with the object.
class TemporaryFile {
 public:
  explicit TemporaryFile(ByteSpan content);
  ~TemporaryFile();
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  void Truncate(uint64_t size_bytes) const;
  void FlipByte(uint64_t offset) const;

 private:
  std::string path_;
};

inline std::vector<uint8_t> BytesOf(const Tensor& tensor) {
  return {tensor.bytes.data(), tensor.bytes.data() + tensor.bytes.size()};
}

}  // namespace nwc
