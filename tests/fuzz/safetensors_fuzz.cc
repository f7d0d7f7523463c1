// A safetensors header, as nwc-pack reads it.
#include "tools/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  const ByteSpan bytes(data, size);
  const auto end = SafetensorsHeaderEnd(bytes, size);
  if (!end.ok() || *end > size) return 0;
  (void)ParseSafetensorsHeader(bytes.first(*end), size).ok();
  return 0;
}
