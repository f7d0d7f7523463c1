// A file of torch.save: as a whole, and its pickle alone, since the fuzzer cannot repair checksums.
// Every tensor that is found must lie in the file and can be read.
#include "tools/pytorch_file.h"

#include <cstdlib>

#include "tests/tools/memory_reader.h"
#include "tools/pytorch_pickle.h"
#include "tools/stored_tensor.h"

namespace nwc {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

void CheckPickle(ByteSpan pickle) {
  const auto tensors = ParseStateDict(pickle);
  if (!tensors.ok()) return;
  for (const PickledTensor& t : *tensors) {
    const auto bytes = StoredBytes(t.dtype, t.shape);
    Check(!t.name.empty() && bytes && *bytes <= t.storage_bytes);
    Check(t.begin <= t.end && t.end <= t.storage_bytes);
    Check(t.strides.empty() ? t.end - t.begin == *bytes : t.strides.size() == t.shape.size());
  }
}

void CheckFile(std::string_view file) {
  const ReadAt read = MemoryReader(file);
  const auto tensors = ReadPyTorchFile(read, file.size());
  if (!tensors.ok()) return;
  size_t left = 64;  // tensors may share a storage: reading all of them could take long
  for (const StoredTensor& t : *tensors) {
    Check(t.begin <= t.end && t.end <= file.size());
    if (left-- == 0) return;
    std::vector<uint8_t> bytes(StoredBytes(t.dtype, t.shape).value());
    (void)ReadStored(read, t, bytes).ok();
  }
}

}  // namespace
}  // namespace nwc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nwc::CheckPickle({data, size});
  nwc::CheckFile({reinterpret_cast<const char*>(data), size});
  return 0;
}
