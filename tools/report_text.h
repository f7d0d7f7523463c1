// Reports on standard output: aligned columns, figures, and a write that notices when it fails.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "format/status.h"

namespace nwc {

using Row = std::vector<std::string>;

// One line a row, columns padded to their widest cell. Column i is flushed right where
// `right_aligned` holds 'r' at i. All rows have as many cells as the first; there is one at least.
std::string AlignColumns(const std::vector<Row>& rows, std::string_view right_aligned);

// printf of one value: FormatNumber("%.2f", 1.5).
std::string FormatNumber(const char* format, double value);

// Quote() without the quotes, for cells.
std::string PlainName(std::string_view name);

// The whole text with control bytes as '?': it comes from files and must not steer a terminal.
std::string Printable(std::string_view text);

// Writes and flushes; kIo when standard output is closed or full.
Status PrintOut(const std::string& text);

}  // namespace nwc
