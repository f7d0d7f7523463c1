// A GGUF file. Tensors lie in the file one after the other, and what is left of it without them is
// a header of the same tensors.
#include "tools/gguf.h"

#include <cstdlib>

#include "tests/tools/memory_reader.h"

namespace nwc {
namespace {

void Check(bool condition) {
  if (!condition) std::abort();
}

void CheckFile(std::string_view file) {
  const ReadAt read = MemoryReader(file);
  const auto header = ReadGgufHeader(read, file.size());
  if (!header.ok()) return;
  uint64_t end = header->data_begin, bytes = 0;
  for (const StoredTensor& t : header->tensors) {
    Check(t.begin >= end && t.end >= t.begin && t.end <= file.size());
    Check(t.end - t.begin == StoredBytes(t.dtype, t.shape));
    bytes += t.end - t.begin;
    end = t.end;
  }
  const auto rest = ReadGgufRest(read, *header, file.size());
  Check(rest.ok() && rest->size() + bytes == file.size());
  const auto again = ParseGgufHeader(*rest);
  Check(again.ok() && *again && (*again)->tensors.size() == header->tensors.size());
}

}  // namespace
}  // namespace nwc

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nwc::CheckFile({reinterpret_cast<const char*>(data), size});
  return 0;
}
