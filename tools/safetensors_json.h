// The JSON inside a safetensors header, token by token: no tree is built, and nesting deeper than
// the format's three levels ends the parse at once.
#pragma once

#include <string_view>

#include "format/status.h"
#include "tools/safetensors.h"

namespace nwc {

// Fills in entries (in the order of the text, offsets counting from the start of the data) and
// metadata. Checks everything but the layout of the data. Duplicate names and fields are rejected.
// May throw std::bad_alloc and nothing else.
Status ParseSafetensorsJson(std::string_view text, SafetensorsHeader* header);

}  // namespace nwc
