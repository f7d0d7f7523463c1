// The codec shipped with the library: entropy tables trained on real weights by tools/nwc-train.
#pragma once

#include <string>
#include <vector>

#include "format/bytes.h"
#include "format/index.h"

namespace nwc {

// Tables as text, one line a table: "t q F_0 F_1 …"; '#' begins a comment.
Result<CodecTables> ParseCodecText(const std::string& text);
std::string FormatCodecText(const CodecTables& tables, const std::string& comment);

// Parsed once; lives as long as the process.
const CodecInfo& DefaultCodec();

// Reconstruction offsets (64ths of a step) that go with table t of the default codec; what the
// encoder starts from. The file states the offsets it was coded with.
struct ReconstructionOffsets {
  int8_t offset1 = 0, offset2 = 0;
};

}  // namespace nwc
