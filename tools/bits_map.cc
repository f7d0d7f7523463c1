#include "tools/bits_map.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tools/html_text.h"
#include "tools/model_totals.h"

namespace nwc {
namespace {

// Pixels.
constexpr double kCellWidth = 33, kCellHeight = 24;
constexpr double kGap = 8;            // before the sums
constexpr double kLetterWidth = 6.5;  // of a label, in a wide font
constexpr double kTop = 40;           // title of the columns, and their numbers
constexpr double kLegend = 44;
constexpr size_t kLongestLabel = 34;  // bytes
constexpr int kLegendSteps = 5;

using Color = std::array<double, 3>;  // 0 to 255
// Black text on the darkest of them has a contrast of 6.6 to 1.
constexpr std::array<Color, 3> kRamp = {
    {{0xF1, 0xF7, 0xFD}, {0x9E, 0xCA, 0xE1}, {0x4A, 0x98, 0xC9}}};

// 0 to 1 along the ramp.
Color ColorAt(double where) {
  const double scaled = std::clamp(where, 0.0, 1.0) * (kRamp.size() - 1);
  const size_t from = std::min(static_cast<size_t>(scaled), kRamp.size() - 2);
  const double part = scaled - static_cast<double>(from);
  Color color{};
  for (size_t i = 0; i < color.size(); ++i) {
    color[i] = kRamp[from][i] + part * (kRamp[from + 1][i] - kRamp[from][i]);
  }
  return color;
}

std::string HexColor(const Color& color) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "#";
  for (const double part : color) {
    const auto value = static_cast<size_t>(std::lround(part));
    text += {kDigits[value / 16], kDigits[value % 16]};
  }
  return text;
}

std::string ShortBits(double bits) { return FormatNumber(bits < 9.995 ? "%.2f" : "%.1f", bits); }

double BitsOf(const GridCell& cell) { return 8 * Ratio(cell.bytes, cell.weights); }

// The bits that the ends of the ramp stand for.
struct BitsRange {
  double least = 0, most = 0;
  bool any = false, any_lossless = false;

  void Take(const GridCell& cell) {
    if (cell.tensors == 0) return;
    any_lossless = any_lossless || !cell.lossy;
    if (!cell.lossy || cell.weights == 0) return;
    const double bits = BitsOf(cell);
    least = any ? std::min(least, bits) : bits;
    most = any ? std::max(most, bits) : bits;
    any = true;
  }
  // At least a bit wide, so that colours do not make much of little.
  void Widen() {
    const double missing = 1 - (most - least);
    if (!any || missing <= 0) return;
    least = std::max(0.0, least - missing / 2);
    most = least + 1;
  }
  [[nodiscard]] Color Of(double bits) const { return ColorAt((bits - least) / (most - least)); }
};

BitsRange RangeOf(const BitsGrid& grid) {
  BitsRange range;
  for (const auto& row : grid.cells) {
    for (const GridCell& cell : row) range.Take(cell);
  }
  range.Widen();
  return range;
}

std::string DrawBox(double x, double y, const std::string& look, const std::string& text,
                    const std::string& text_class) {
  return SvgRect(x, y, kCellWidth - 1, kCellHeight - 1, look) +
         SvgText(x + kCellWidth / 2, y + 16, text, " class=\"" + text_class + "\"");
}

std::string DrawColored(double x, double y, const Color& color, const std::string& text) {
  return DrawBox(x, y, " fill=\"" + HexColor(color) + "\"", text, "v");
}

std::string Tip(const std::string& where, const GridCell& cell) {
  return "<g><title>" + where + ": " + FormatBits(cell.bytes, cell.weights) + " bits a weight, " +
         GroupDigits(cell.bytes) + " bytes</title>";
}

std::string DrawCell(double x, double y, const GridCell& cell, const BitsRange& range,
                     const std::string& where) {
  if (cell.tensors == 0) return "";
  const std::string text = FormatBits(cell.bytes, cell.weights);
  return Tip(where, cell) +
         (cell.lossy ? DrawColored(x, y, range.Of(BitsOf(cell)), text)
                     : DrawBox(x, y, " class=\"lossless\"", text, "v")) +
         "</g>\n";
}

std::string DrawSum(double x, double y, const GridCell& cell, const std::string& where) {
  if (cell.tensors == 0) return "";
  return Tip(where, cell) +
         DrawBox(x, y, " class=\"sum\"", FormatBits(cell.bytes, cell.weights), "c") + "</g>\n";
}

std::string Label(const std::string& kind) {
  return kind.size() <= kLongestLabel
             ? HtmlText(kind)
             : "..." + HtmlText(kind.substr(kind.size() - kLongestLabel + 3));
}

class MapDrawing {
 public:
  explicit MapDrawing(const BitsGrid& grid) : grid_(grid), range_(RangeOf(grid)) {
    size_t longest = 5;
    for (const std::string& kind : grid.kinds) {
      longest = std::max(longest, std::min(kind.size(), kLongestLabel));
    }
    left_ = kLetterWidth * static_cast<double>(longest) + 8;
    sums_x_ = left_ + kCellWidth * static_cast<double>(grid.layers.size()) + kGap;
    sums_y_ = kTop + kCellHeight * static_cast<double>(grid.kinds.size()) + kGap;
  }

  [[nodiscard]] const BitsRange& range() const { return range_; }
  [[nodiscard]] double width() const { return std::max(sums_x_ + kCellWidth, left_ + 310); }
  [[nodiscard]] double height() const { return sums_y_ + kCellHeight + kLegend; }

  [[nodiscard]] std::string Draw() const {
    std::string text = Headings();
    for (size_t k = 0; k < grid_.kinds.size(); ++k) {
      const double y = kTop + kCellHeight * static_cast<double>(k);
      text += Heading(y, Label(grid_.kinds[k]));
      const std::string kind = HtmlName(grid_.kinds[k]);
      for (size_t l = 0; l < grid_.layers.size(); ++l) {
        text += DrawCell(ColumnX(l), y, grid_.cells[k][l], range_,
                         kind + (grid_.layers[l] == "-" ? "" : ", layer " + grid_.layers[l]));
      }
      text += DrawSum(sums_x_, y, grid_.of_kind[k], kind + ", all");
    }
    text += Heading(sums_y_, "all");
    for (size_t l = 0; l < grid_.layers.size(); ++l) {
      text += DrawSum(ColumnX(l), sums_y_, grid_.of_layer[l],
                      grid_.layers[l] == "-" ? "outside of layers" : "layer " + grid_.layers[l]);
    }
    return text + Legend();
  }

 private:
  [[nodiscard]] double ColumnX(size_t layer) const {
    return left_ + kCellWidth * static_cast<double>(layer);
  }

  [[nodiscard]] std::string Heading(double y, const std::string& label) const {
    return SvgText(left_ - 6, y + 16, label, " class=\"t e\"") + "\n";
  }

  [[nodiscard]] std::string Headings() const {
    std::string text = SvgText(left_, 14, "layer", " class=\"t m\"") + "\n";
    for (size_t l = 0; l < grid_.layers.size(); ++l) {
      text += SvgText(ColumnX(l) + kCellWidth / 2, kTop - 8, grid_.layers[l], " class=\"t c\"");
    }
    return text + SvgText(sums_x_ + kCellWidth / 2, kTop - 8, "all", " class=\"t c\"") + "\n";
  }

  [[nodiscard]] std::string Legend() const {
    const double y = height() - kCellHeight - 4;
    double x = left_;
    std::string text = SvgText(left_ - 6, y + 16, "bits", " class=\"t e m\"");
    for (int i = 0; range_.any && i < kLegendSteps; ++i) {
      const double bits = range_.least + (range_.most - range_.least) * i / (kLegendSteps - 1);
      text += DrawColored(x, y, range_.Of(bits), ShortBits(bits));
      x += kCellWidth;
    }
    if (range_.any_lossless) {
      x += range_.any ? kGap : 0;
      text += DrawBox(x, y, " class=\"lossless\"", "", "v") +
              SvgText(x + kCellWidth + 4, y + 16, "lossless", " class=\"t\"");
    }
    return text + "\n";
  }

  const BitsGrid& grid_;
  const BitsRange range_;
  double left_ = 0;                 // of the cells
  double sums_x_ = 0, sums_y_ = 0;  // of the sums' column and row
};

std::string TableOf(const BitsGrid& grid) {
  HtmlTable table;
  table.id = "bits-table";
  table.caption = "Bits a weight by kind (rows) and layer (columns)";
  table.columns = {"kind"};
  for (const std::string& layer : grid.layers) {
    table.columns.push_back(layer == "-" ? "outside" : layer);
  }
  table.columns.emplace_back("all");
  table.align = "l" + std::string(grid.layers.size() + 1, 'r');
  const auto cell_text = [](const GridCell& cell) {
    return cell.tensors == 0 ? std::string() : FormatBits(cell.bytes, cell.weights);
  };
  for (size_t k = 0; k < grid.kinds.size(); ++k) {
    Row row = {HtmlName(grid.kinds[k])};
    for (const GridCell& cell : grid.cells[k]) row.push_back(cell_text(cell));
    row.push_back(cell_text(grid.of_kind[k]));
    table.rows.push_back(std::move(row));
  }
  Row sums = {"all"};
  for (const GridCell& cell : grid.of_layer) sums.push_back(cell_text(cell));
  sums.emplace_back();
  table.rows.push_back(std::move(sums));
  return "<details>\n<summary>The same numbers as a table</summary>\n" + FormatTable(table) +
         "</details>\n";
}

}  // namespace

std::string FormatBits(uint64_t bytes, uint64_t weights) {
  if (weights == 0) return "-";
  return ShortBits(8 * Ratio(bytes, weights));
}

std::string FormatBitsMap(const BitsGrid& grid) {
  const MapDrawing drawing(grid);
  HtmlFigure figure;
  figure.id = "bits-map";
  figure.title = "Bits a weight by layer and kind";
  figure.description =
      "A grid: rows are kinds of tensors, columns are layers; each cell holds its bits a weight.";
  if (drawing.range().any) {
    figure.description += FormatNumber(" Colours go from %.2f", drawing.range().least) +
                          FormatNumber(" to %.2f bits.", drawing.range().most);
  }
  figure.caption =
      "Bytes of a tensor in the file, side information and index entries too, over its weights. "
      "Darker: more bits; dashed: lossless.";
  if (!grid.layers.empty() && grid.layers[0] == "-") {
    figure.caption += " Column &#39;-&#39;: outside of layers.";
  }
  if (grid.layers_left_out != 0) {
    figure.caption += " " + std::to_string(grid.layers_left_out) + " more layers are not drawn.";
  }
  figure.width = drawing.width();
  figure.height = drawing.height();
  figure.drawing = drawing.Draw();
  return FormatFigure(figure) + TableOf(grid);
}

}  // namespace nwc
