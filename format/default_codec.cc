#include "format/default_codec.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace nwc {

extern const char kDefaultCodecText[];  // made from default_codec.txt

namespace {

Status BadLine(const std::string& line) {
  return Status::Corrupt(18, "codec text: bad line '" + line.substr(0, 60) + "'");
}

}  // namespace

Result<CodecTables> ParseCodecText(const std::string& text) {
  CodecTables tables;
  std::istringstream lines(text);
  size_t next = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    size_t t = 0, q = 0;
    if (!(fields >> t >> q) || q >= kQuantizerCount || next >= tables.frequencies.size() ||
        t * kQuantizerCount + q != next) {
      return BadLine(line);
    }
    for (unsigned f = 0; fields >> f;) {
      if (f >= kProbabilityScale) return BadLine(line);
      tables.frequencies[next].push_back(static_cast<uint16_t>(f));
    }
    ++next;
  }
  if (next != tables.frequencies.size()) {
    return Status::Corrupt(18, "codec text: " + std::to_string(next) + " tables, expected 128");
  }
  NWC_RETURN_IF_ERROR(tables.Validate());
  return tables;
}

std::string FormatCodecText(const CodecTables& tables, const std::string& comment) {
  std::string text;
  std::istringstream comment_lines(comment);
  for (std::string line; std::getline(comment_lines, line);) text += "# " + line + "\n";
  for (size_t i = 0; i < tables.frequencies.size(); ++i) {
    text += std::to_string(i / kQuantizerCount) + " " + std::to_string(i % kQuantizerCount);
    for (const uint16_t f : tables.frequencies[i]) text += " " + std::to_string(f);
    text += "\n";
  }
  return text;
}

const CodecInfo& DefaultCodec() {
  static const CodecInfo codec = [] {
    Result<CodecTables> tables = ParseCodecText(kDefaultCodecText);
    if (!tables.ok()) {  // a broken build
      std::fprintf(stderr, "default codec: %s\n", tables.status().ToString().c_str());
      std::abort();
    }
    return CodecInfo{"default-1", std::move(*tables)};
  }();
  return codec;
}

}  // namespace nwc
