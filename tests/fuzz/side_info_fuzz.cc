// Side information: what parses must serialise to something that parses to the same.
#include <cstdlib>

#include "format/side_info.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nwc;
  if (size < 2) return 0;
  const uint64_t rows = data[0], columns = data[1];
  for (const bool gains : {false, true}) {
    const auto side = ParseSideInfo({data + 2, size - 2}, rows, columns, 1.0f, gains);
    if (!side.ok()) continue;
    const auto again =
        ParseSideInfo(SerializeSideInfo(*side), rows, columns, 1.0f, gains && rows > 0);
    if (!again.ok() || again->row_step != side->row_step ||
        again->column_step != side->column_step || again->row_table != side->row_table ||
        again->column_table != side->column_table || again->row_gain != side->row_gain) {
      std::abort();
    }
  }
  return 0;
}
