// HTML and SVG as text, well-formed as XML too, with whatever comes from files made harmless.
// Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/report_text.h"

namespace nwc {

// Text for an element or for an attribute between double quotes: & < > " ' escaped; what is no
// UTF-8, control characters and those that turn the direction of writing become U+FFFD.
std::string HtmlText(std::string_view text);

// The same with the middle of a very long text left out.
std::string HtmlName(std::string_view text);

std::string GroupDigits(uint64_t number);  // "134,515,008"

// A table whose cells are HTML. The first cell of a row is its header.
struct HtmlTable {
  std::string id;       // of the caption
  std::string caption;  // HTML
  Row columns;          // headers; empty: none
  std::string align;    // as of AlignColumns
  std::vector<Row> rows;
  bool wraps = false;  // long cells break lines rather than make it wide
};

// In a box of its own that scrolls sideways and can be reached with the keyboard.
std::string FormatTable(const HtmlTable& table);

// An SVG drawing with its description, in a box as above.
struct HtmlFigure {
  std::string id;           // of the svg element
  std::string title;        // HTML, also the label of the box
  std::string description;  // HTML, for those who do not see it
  std::string caption;      // HTML below it; may be empty
  double width = 0, height = 0;
  bool scales = false;  // with the page, down to a phone; else it scrolls
  std::string drawing;
};
std::string FormatFigure(const HtmlFigure& figure);

// "12.5", "12": at most two digits after the point.
std::string Coordinate(double value);

// One text of a drawing, `text` already HTML. `attributes`: " class=\"a\"" or nothing.
std::string SvgText(double x, double y, const std::string& text, const std::string& attributes);

std::string SvgRect(double x, double y, double width, double height, const std::string& attributes);

}  // namespace nwc
