#include "tools/report_charts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string_view>

#include "tools/display.h"
#include "tools/html_text.h"

namespace nwc {
namespace {

constexpr double kWidth = 360;  // of each drawing
constexpr double kLine = 18;    // a line of text
constexpr size_t kLooks = 8;    // colours k0 to k7 of the style sheet

// Lines over a part's colour, so that it is known without its colour; 8 by 8, the first is plain.
constexpr std::array<const char*, kLooks> kHatches = {
    "",       "M-1 9L9 -1",           "M-1 -1L9 9",   "M0 4H8",
    "M4 0V8", "M-1 9L9 -1M-1 -1L9 9", "M0 4H8M4 0V8", "M2 2h2v2h-2z"};
// Marks of a scatter plot, around 0, 0.
constexpr std::array<const char*, kLooks> kMarks = {
    "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0z",
    "M-3 -3H3V3H-3z",
    "M0 -4L4 3H-4z",
    "M0 -4L4 0L0 4L-4 0z",
    "M0 4L4 -3H-4z",
    "M-3.5 -1H-1V-3.5H1V-1H3.5V1H1V3.5H-1V1H-3.5z",
    "M-3.5 -2L-2 -3.5L0 -1.5L2 -3.5L3.5 -2L1.5 0L3.5 2L2 3.5L0 1.5L-2 3.5L-3.5 2L-1.5 0z",
    "M-4 -1.5H4V1.5H-4z"};

std::string Number(size_t i) { return std::to_string(i); }

std::string Percent(double part, double whole) {
  const double percent = whole == 0 ? 0 : 100 * part / whole;
  return FormatNumber(percent != 0 && percent < 0.095 ? "%.3f %%" : "%.1f %%", percent);
}

// A look for each part; after the last colour the first comes again with another hatch.
std::string Hatches(const std::string& id, size_t count) {
  std::string text = "<defs>";
  for (size_t i = 0; i < count; ++i) {
    text += "<pattern id=\"" + id + Number(i) +
            "\" width=\"8\" height=\"8\" patternUnits=\"userSpaceOnUse\"><rect width=\"8\" "
            "height=\"8\" class=\"k" +
            Number(i % kLooks) + "\"/><path class=\"hatch\" d=\"" +
            kHatches[(i + i / kLooks) % kLooks] + "\"/></pattern>";
  }
  return text + "</defs>\n";
}

std::string Fill(const std::string& id, size_t number) {
  return " class=\"part\" fill=\"url(#" + id + Number(number) + ")\"";
}

// Bar on top, a line of text for each part below.
std::string DrawSizes(const std::vector<SizePart>& parts, uint64_t total) {
  constexpr double kBar = 34;
  std::string text = Hatches("size-", parts.size());
  double x = 0, y = kBar + 8;
  for (size_t i = 0; i < parts.size(); ++i) {
    const double width = kWidth * static_cast<double>(parts[i].bytes) / static_cast<double>(total);
    const std::string label = HtmlName(parts[i].name);
    text += "<g><title>" + label + ": " + GroupDigits(parts[i].bytes) + " bytes</title>" +
            SvgRect(std::min(x, kWidth - 1), 0, std::max(width, 1.0), kBar, Fill("size-", i)) +
            "</g>";
    x += width;
    text += SvgRect(0, y, 14, 14, Fill("size-", i)) + SvgText(20, y + 11, label, " class=\"t\"") +
            SvgText(kWidth - 62, y + 11, FormatBytes(parts[i].bytes), " class=\"t e\"") +
            SvgText(kWidth - 1, y + 11,
                    Percent(static_cast<double>(parts[i].bytes), static_cast<double>(total)),
                    " class=\"t e\"") +
            "\n";
    y += kLine;
  }
  return text;
}

// The plane of a scatter plot.
struct Axes {
  double x_from = 0, x_to = 1, y_from = 0, y_to = 10;  // bits, dB
  double y_step = 10;
  static constexpr double kLeft = 34, kRight = kWidth - 8, kTop = 10, kBottom = 236;

  [[nodiscard]] double X(double bits) const {
    return kLeft + (kRight - kLeft) * (bits - x_from) / (x_to - x_from);
  }
  [[nodiscard]] double Y(double db) const {
    return kBottom - (kBottom - kTop) * (db - y_from) / (y_to - y_from);
  }
};

Axes AxesFor(const std::vector<RatePoint>& points) {
  double x_least = points[0].bits, x_most = x_least;
  double y_least = SignalToNoise(points[0].relative_mse), y_most = y_least;
  for (const RatePoint& p : points) {
    x_least = std::min(x_least, p.bits);
    x_most = std::max(x_most, p.bits);
    y_least = std::min(y_least, SignalToNoise(p.relative_mse));
    y_most = std::max(y_most, SignalToNoise(p.relative_mse));
  }
  Axes axes;
  axes.x_from = std::floor(x_least);
  axes.x_to = std::max(std::ceil(x_most), axes.x_from + 1);
  const double y_range = y_most - y_least;
  axes.y_step = y_range > 30 ? 10 : y_range > 10 ? 5 : 2;
  axes.y_from = std::floor(y_least / axes.y_step) * axes.y_step;
  axes.y_to = std::max(std::ceil(y_most / axes.y_step) * axes.y_step, axes.y_from + axes.y_step);
  return axes;
}

std::string DrawAxes(const Axes& a) {
  std::string text;
  const double x_step = a.x_to - a.x_from > 8 ? 2 : 1;
  for (double bits = a.x_from; bits <= a.x_to; bits += x_step) {
    const std::string x = Coordinate(a.X(bits));
    text += "<path class=\"grid\" d=\"M" + x + " " + Coordinate(Axes::kTop) + "V" +
            Coordinate(Axes::kBottom) + "\"/>" +
            SvgText(a.X(bits), Axes::kBottom + 14, FormatNumber("%.0f", bits), " class=\"t c\"");
  }
  for (double db = a.y_from; db <= a.y_to; db += a.y_step) {
    text += "<path class=\"grid\" d=\"M" + Coordinate(Axes::kLeft) + " " + Coordinate(a.Y(db)) +
            "H" + Coordinate(Axes::kRight) + "\"/>" +
            SvgText(Axes::kLeft - 4, a.Y(db) + 4, FormatNumber("%.0f", db), " class=\"t e\"");
  }
  // Gaussian weights: 6.02 dB a bit. Only what is inside of the plane.
  constexpr double kDbPerBit = 6.0206;
  const double from = std::max(a.x_from, a.y_from / kDbPerBit);
  const double to = std::min(a.x_to, a.y_to / kDbPerBit);
  if (from < to) {
    text += "<path class=\"bound\" d=\"M" + Coordinate(a.X(from)) + " " +
            Coordinate(a.Y(from * kDbPerBit)) + "L" + Coordinate(a.X(to)) + " " +
            Coordinate(a.Y(to * kDbPerBit)) + "\"/>";
  }
  return text +
         SvgText((Axes::kLeft + Axes::kRight) / 2, Axes::kBottom + 30, "bits a weight",
                 " class=\"t c\"") +
         "<text class=\"t c\" transform=\"translate(10 " +
         Coordinate((Axes::kTop + Axes::kBottom) / 2) + ") rotate(-90)\">SNR, dB</text>\n";
}

// Looks by kind: the most frequent kinds have one each, the others share the last.
std::vector<std::string> LooksOf(const std::vector<RatePoint>& points) {
  std::map<std::string, size_t> counts;
  for (const RatePoint& p : points) ++counts[p.kind];
  std::vector<std::string> kinds;
  kinds.reserve(counts.size());
  for (const auto& [kind, count] : counts) kinds.push_back(kind);
  std::stable_sort(kinds.begin(), kinds.end(), [&](const std::string& a, const std::string& b) {
    return counts.at(a) > counts.at(b);
  });
  if (kinds.size() > kLooks) {
    kinds.resize(kLooks - 1);
    kinds.emplace_back("others");
  }
  return kinds;
}

std::string DrawScatter(const std::vector<RatePoint>& points,
                        const std::vector<std::string>& kinds) {
  const Axes axes = AxesFor(points);
  std::string text = "<defs>";
  for (size_t i = 0; i < kinds.size(); ++i) {
    text += "<path id=\"mark-" + Number(i) + "\" class=\"mark k" + Number(i) + "\" d=\"" +
            kMarks[i] + "\"/>";
  }
  text += "</defs>\n" + DrawAxes(axes);
  const auto mark = [](size_t look, double x, double y) {
    return "<use href=\"#mark-" + Number(look) + "\" x=\"" + Coordinate(x) + "\" y=\"" +
           Coordinate(y) + "\"";
  };
  for (const RatePoint& p : points) {
    const auto found = std::find(kinds.begin(), kinds.end(), p.kind);
    const auto look = std::min(static_cast<size_t>(found - kinds.begin()), kinds.size() - 1);
    const double db = SignalToNoise(p.relative_mse);
    text += mark(look, axes.X(p.bits), axes.Y(db)) + "><title>" + HtmlName(p.name) +
            FormatNumber(": %.2f bits, ", p.bits) + FormatNumber("%.1f dB", db) +
            "</title></use>\n";
  }
  for (size_t i = 0; i < kinds.size(); ++i) {
    const double y = Axes::kBottom + 52 + kLine * static_cast<double>(i);
    text += mark(i, Axes::kLeft + 8, y - 4) + "/>" +
            SvgText(Axes::kLeft + 20, y, HtmlName(kinds[i]), " class=\"t\"");
  }
  const double y = Axes::kBottom + 52 + kLine * static_cast<double>(kinds.size());
  return text + "<path class=\"bound\" d=\"M" + Coordinate(Axes::kLeft) + " " + Coordinate(y - 4) +
         "h16\"/>" + SvgText(Axes::kLeft + 20, y, "Gaussian bound, 6.02 dB a bit", " class=\"t\"") +
         "\n";
}

}  // namespace

double SignalToNoise(double relative_mse) { return -10 * std::log10(relative_mse); }

std::string FormatSizeBar(const std::vector<SizePart>& parts) {
  std::vector<SizePart> drawn;
  uint64_t total = 0;
  for (const SizePart& part : parts) {
    total += part.bytes;
    if (part.bytes != 0) drawn.push_back(part);
  }
  HtmlFigure figure;
  figure.id = "size-bar";
  figure.title = "Size breakdown";
  figure.description =
      "A bar of all bytes of the file, cut into its parts; the table below has "
      "the same numbers.";
  figure.width = kWidth;
  figure.height = 44 + kLine * static_cast<double>(drawn.size());
  figure.scales = true;
  figure.drawing = DrawSizes(drawn, total);
  HtmlTable table{
      "size-table", "Bytes by part", {"part", "bytes", "share", "what it is"}, "lrrl", {}, true};
  for (const SizePart& part : drawn) {
    table.rows.push_back({HtmlName(part.name), GroupDigits(part.bytes),
                          Percent(static_cast<double>(part.bytes), static_cast<double>(total)),
                          part.what});
  }
  table.rows.push_back({"all", GroupDigits(total), "100.0 %", "the file as it is on disk"});
  return FormatFigure(figure) + FormatTable(table);
}

std::string FormatRateScatter(const std::vector<RatePoint>& points) {
  const std::vector<std::string> kinds = LooksOf(points);
  HtmlFigure figure;
  figure.id = "rate-scatter";
  figure.title = "Bits and signal-to-noise ratio of each lossy tensor";
  figure.description =
      "One mark a tensor; to the right: more bits; up: less error. The table of tensors has the "
      "same numbers.";
  figure.caption = "Signal-to-noise ratio: squared norm over squared error, in dB.";
  figure.width = kWidth;
  figure.height = Axes::kBottom + 62 + kLine * static_cast<double>(kinds.size());
  figure.scales = true;
  figure.drawing = DrawScatter(points, kinds);
  return FormatFigure(figure);
}

std::string FormatStageBars(const std::vector<StageSeconds>& stages) {
  double total = 0, longest = 0;
  for (const StageSeconds& s : stages) {
    total += s.seconds;
    longest = std::max(longest, s.seconds);
  }
  HtmlFigure figure;
  figure.id = "stage-bars";
  figure.title = "Time by stage";
  figure.description = "A bar for each stage of the pack; the table below has the same numbers.";
  figure.width = kWidth;
  figure.height = 2 * kLine * static_cast<double>(stages.size());
  figure.scales = true;
  HtmlTable table{"stage-table", "Seconds by stage", {"stage", "seconds", "share"}, "lrr", {},
                  true};
  double y = 0;
  for (const StageSeconds& s : stages) {
    const double width = longest == 0 ? 0 : kWidth * s.seconds / longest;
    figure.drawing +=
        SvgText(0, y + 13, HtmlName(s.stage), " class=\"t\"") +
        SvgText(kWidth, y + 13, FormatSeconds(s.seconds) + ", " + Percent(s.seconds, total),
                " class=\"t e\"") +
        SvgRect(0, y + 18, std::max(width, 1.0), 10, " class=\"k0\"") + "\n";
    y += 2 * kLine;
    table.rows.push_back(
        {HtmlName(s.stage), FormatNumber("%.3f", s.seconds), Percent(s.seconds, total)});
  }
  table.rows.push_back({"all", FormatNumber("%.3f", total), "100.0 %"});
  return FormatFigure(figure) + FormatTable(table);
}

}  // namespace nwc
