#include "tools/report_text.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "tools/display.h"

namespace nwc {
namespace {

constexpr size_t kColumnGap = 2;  // cells

// Of UTF-8: bytes that begin a character.
size_t Width(const std::string& cell) {
  return static_cast<size_t>(std::count_if(cell.begin(), cell.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

}  // namespace

std::string AlignColumns(const std::vector<Row>& rows, std::string_view right_aligned) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], Width(row[i]));
  }
  std::string text;
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - Width(row[i]), ' ');
      const bool right = i < right_aligned.size() && right_aligned[i] == 'r';
      if (i > 0) text += std::string(kColumnGap, ' ');
      text += right ? padding + row[i] : row[i] + padding;
    }
    text.erase(text.find_last_not_of(' ') + 1);
    text += "\n";
  }
  return text;
}

std::string FormatNumber(const char* format, double value) {
  std::string text(static_cast<size_t>(std::snprintf(nullptr, 0, format, value)), '\0');
  std::snprintf(text.data(), text.size() + 1, format, value);
  return text;
}

std::string PlainName(std::string_view name) {
  const std::string quoted = Quote(name);
  return quoted.substr(1, quoted.size() - 2);
}

std::string Printable(std::string_view text) {
  std::string printable(text);
  for (char& c : printable) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return printable;
}

Status PrintOut(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) {
    return {};
  }
  return Status(ErrorCode::kIo, std::string("standard output: cannot write: ") +
                                    std::strerror(errno) + "; check where it goes");
}

}  // namespace nwc
