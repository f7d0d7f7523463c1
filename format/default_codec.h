// The codec shipped with the library: entropy tables trained on real weights by tools/nwc-train.
#pragma once

#include <string>

#include "format/index.h"

namespace nwc {

// Tables as text, one line a table: "t q F_0 F_1 …", every (t, q) once and in order; '#' begins a
// comment line.
Result<CodecTables> ParseCodecText(const std::string& text);
std::string FormatCodecText(const CodecTables& tables, const std::string& comment);

// Parsed once; lives as long as the process.
const CodecInfo& DefaultCodec();

}  // namespace nwc
