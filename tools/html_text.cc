#include "tools/html_text.h"

#include <cmath>

namespace nwc {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr size_t kLongestName = 160;                       // bytes

struct Character {
  uint32_t code = 0xFFFD;
  size_t bytes = 1;
};

// The character that `text` begins with; U+FFFD and one byte where it is no UTF-8.
Character FirstCharacter(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[i])); };
  const uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const size_t bytes = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < bytes) return {};
  uint32_t code = first & (0x7Fu >> bytes);
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    code = code << 6 | (byte(i) & 0x3F);
  }
  constexpr uint32_t kSmallest[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code >= 0xD800 && code < 0xE000;
  if (code < kSmallest[bytes] || code > 0x10FFFF || surrogate) return {};
  return {code, bytes};
}

// What must not reach a reader's eyes or an XML parser: controls, marks of direction, no
// characters.
bool IsHarmful(uint32_t code) {
  const auto within = [code](uint32_t first, uint32_t last) {
    return first <= code && code <= last;
  };
  return code < 0x20 || within(0x7F, 0x9F) || within(0x200B, 0x200F) || within(0x2028, 0x202E) ||
         within(0x2060, 0x206F) || code == 0x061C || code == 0xFEFF || within(0xFDD0, 0xFDEF) ||
         (code & 0xFFFE) == 0xFFFE;
}

std::string_view Escape(char c) {
  switch (c) {
    case '&':
      return "&amp;";
    case '<':
      return "&lt;";
    case '>':
      return "&gt;";
    case '"':
      return "&quot;";
    case '\'':
      return "&#39;";
    default:
      return {};
  }
}

std::string TableRow(const Row& cells, const std::string& align, bool heading) {
  std::string text = "<tr>";
  for (size_t i = 0; i < cells.size(); ++i) {
    const std::string side = i < align.size() && align[i] == 'r' ? " class=\"n\"" : "";
    const bool header = heading || i == 0;
    text += header ? std::string("<th scope=\"") + (heading ? "col" : "row") + "\"" + side + ">"
                   : "<td" + side + ">";
    text += cells[i] + (header ? "</th>" : "</td>");
  }
  return text + "</tr>\n";
}

// A box that scrolls must be reachable without a mouse.
std::string ScrollBox(const std::string& labelled_by, const std::string& content) {
  return "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"" + labelled_by +
         "\">\n" + content + "</div>\n";
}

}  // namespace

std::string HtmlText(std::string_view text) {
  std::string html;
  while (!text.empty()) {
    const Character c = FirstCharacter(text);
    const std::string_view escaped = Escape(text[0]);
    html += c.code == 0xFFFD || IsHarmful(c.code) ? kReplacement
            : escaped.empty()                     ? text.substr(0, c.bytes)
                                                  : escaped;
    text.remove_prefix(c.bytes);
  }
  return html;
}

std::string HtmlName(std::string_view text) {
  if (text.size() <= kLongestName) return HtmlText(text);
  constexpr size_t kHalf = kLongestName / 2;
  return HtmlText(text.substr(0, kHalf)) + "..." + HtmlText(text.substr(text.size() - kHalf));
}

std::string GroupDigits(uint64_t number) {
  std::string text = std::to_string(number);
  for (size_t i = text.size(); i > 3; i -= 3) text.insert(i - 3, ",");
  return text;
}

std::string FormatTable(const HtmlTable& table) {
  std::string text = std::string("<table") + (table.wraps ? " class=\"wrap\"" : "") +
                     ">\n<caption id=\"" + table.id + "\">" + table.caption + "</caption>\n";
  if (!table.columns.empty()) {
    text += "<thead>" + TableRow(table.columns, table.align, true) + "</thead>\n";
  }
  text += "<tbody>\n";
  for (const Row& row : table.rows) text += TableRow(row, table.align, false);
  return ScrollBox(table.id, text + "</tbody>\n</table>\n");
}

std::string FormatFigure(const HtmlFigure& f) {
  const std::string size = Coordinate(f.width) + " " + Coordinate(f.height);
  std::string svg = "<svg id=\"" + f.id + "\" class=\"" + (f.scales ? "scales" : "fixed") +
                    "\" viewBox=\"0 0 " + size + "\" width=\"" + Coordinate(f.width) +
                    "\" height=\"" + Coordinate(f.height) + "\" role=\"img\" aria-labelledby=\"" +
                    f.id + "-title " + f.id + "-desc\">\n<title id=\"" + f.id + "-title\">" +
                    f.title + "</title>\n<desc id=\"" + f.id + "-desc\">" + f.description +
                    "</desc>\n" + f.drawing + "</svg>\n";
  if (!f.scales) svg = ScrollBox(f.id + "-title", svg);
  if (!f.caption.empty()) svg += "<figcaption>" + f.caption + "</figcaption>\n";
  return "<figure>\n" + svg + "</figure>\n";
}

std::string Coordinate(double value) {
  std::string text = FormatNumber("%.2f", std::isfinite(value) ? value : 0);
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

std::string SvgText(double x, double y, const std::string& text, const std::string& attributes) {
  return "<text x=\"" + Coordinate(x) + "\" y=\"" + Coordinate(y) + "\"" + attributes + ">" + text +
         "</text>";
}

std::string SvgRect(double x, double y, double width, double height,
                    const std::string& attributes) {
  return "<rect x=\"" + Coordinate(x) + "\" y=\"" + Coordinate(y) + "\" width=\"" +
         Coordinate(width) + "\" height=\"" + Coordinate(height) + "\"" + attributes + "/>";
}

}  // namespace nwc
