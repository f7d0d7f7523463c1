#include "tools/report_page.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "tools/bits_map.h"
#include "tools/display.h"
#include "tools/html_text.h"
#include "tools/layer_kinds.h"
#include "tools/parse_json.h"
#include "tools/report_charts.h"
#include "tools/report_style.h"

namespace nwc {
namespace {

constexpr size_t kLongestText = 2000;  // bytes, of options

// Nothing but what is in the page: no script, no request.
constexpr const char* kPolicy = "default-src &#39;none&#39;; style-src &#39;unsafe-inline&#39;";

std::string Section(const std::string& title, const std::string& content) {
  return "<section>\n<h2>" + title + "</h2>\n" + content + "</section>\n";
}

// Side by side where there is room.
std::string Pair(const std::string& content) {
  return "<div class=\"pair\">\n" + content + "</div>\n";
}

std::string Paragraph(const std::string& html) { return "<p>" + html + "</p>\n"; }

std::string Bytes(uint64_t bytes) {
  return GroupDigits(bytes) + " bytes (" + FormatBytes(bytes) + ")";
}

template <typename Items>
std::string Names(const Items& items) {
  constexpr size_t kMost = 8;
  std::string text;
  for (size_t i = 0; i < std::min(items.size(), kMost); ++i) {
    text += (i == 0 ? "" : ", ") + HtmlName(items[i].name);
  }
  if (items.size() > kMost) text += " and " + std::to_string(items.size() - kMost) + " more";
  return text.empty() ? "none" : text;
}

// "profile stream, bits 4, trellis 2", or the text itself where it is no flat JSON object.
std::string Options(const std::string& options) {
  using Json = nlohmann::ordered_json;
  const Json parsed = ParseJson<Json>(options.substr(0, kLongestText));
  if (!parsed.is_object())
    return options.empty() ? "none" : HtmlText(options.substr(0, kLongestText));
  std::string text;
  for (const auto& [key, value] : parsed.items()) {
    const std::string shown = value.is_string()
                                  ? value.get<std::string>()
                                  : value.dump(-1, ' ', false, Json::error_handler_t::replace);
    text += (text.empty() ? "" : ", ") + HtmlName(key) + " " + HtmlName(shown);
  }
  return text.empty() ? "none" : text;
}

std::string BitsAWeight(uint64_t bytes, uint64_t weights) {
  return weights == 0 ? "no weights" : FormatNumber("%.4f", 8 * Ratio(bytes, weights));
}

std::string Summary(const PageContent& c) {
  const ModelTotals& t = c.totals;
  std::string text = GroupDigits(t.weights) + " weights in " + GroupDigits(t.tensors) +
                     (t.tensors == 1 ? " tensor, " : " tensors, ") + FormatBytes(t.file_bytes);
  if (t.weights != 0) {
    text += ": <strong>" + FormatNumber("%.2f bits a weight", t.BitsPerWeight()) +
            "</strong> of the whole file";
  }
  if (t.linear_weights != 0) {
    text += ", <strong>" + FormatNumber("%.2f", t.LinearBitsPerWeight()) +
            "</strong> of its linear tensors";
  }
  return Paragraph(text + ".");
}

std::string FactsTable(const PageContent& c) {
  const ModelTotals& t = c.totals;
  HtmlTable table;
  table.id = "totals";
  table.caption = "The file";
  table.wraps = true;
  table.rows = {
      {"size", Bytes(t.file_bytes)},
      {"decodes to", Bytes(t.decoded_bytes)},
      {"tensors", GroupDigits(t.tensors) + " in " + GroupDigits(t.chunks) + " chunks"},
      {"layers", t.layers.empty() ? "none" : GroupDigits(t.layers.size())},
      {"weights", GroupDigits(t.weights)},
      {"linear weights", GroupDigits(t.linear_weights)},
      {"bits a weight, whole file", BitsAWeight(t.file_bytes, t.weights)},
      {"bits a weight, linear tensors with their codecs",
       BitsAWeight(t.linear_bytes, t.linear_weights)},
      {"packed from", Names(c.index.shards)},
      {"metadata files", Names(c.index.files)},
      {"options", Options(c.index.options)},
      {"producer", HtmlName(c.index.producer)},
  };
  if (t.containers > 1) table.rows.push_back({"containers", GroupDigits(t.containers)});
  if (!c.root_hash.empty()) table.rows.push_back({"root hash", HtmlText(c.root_hash)});
  return FormatTable(table);
}

std::string ProfileTable(const ModelTotals& totals) {
  HtmlTable table{"profiles",
                  "By profile",
                  {"profile", "tensors", "weights", "bytes", "bits a weight"},
                  "lrrrr",
                  {}};
  for (const auto& [name, p] : totals.profiles) {
    table.rows.push_back({HtmlText(name), GroupDigits(p.tensors), GroupDigits(p.weights),
                          GroupDigits(p.bytes),
                          p.weights == 0 ? "-" : BitsAWeight(p.bytes, p.weights)});
  }
  table.rows.push_back(
      {"all", GroupDigits(totals.tensors), GroupDigits(totals.weights),
       GroupDigits(totals.tensor_bytes),
       totals.weights == 0 ? "-" : BitsAWeight(totals.tensor_bytes, totals.weights)});
  return FormatTable(table);
}

// All bytes of the file, each once.
std::vector<SizePart> SizeParts(const ModelTotals& t) {
  std::vector<SizePart> parts;
  for (const auto& [name, p] : t.profiles) {
    parts.push_back(
        {name + " payload", p.chunk_bytes, "coded weights of profile " + HtmlText(name)});
  }
  const uint64_t superblocks = t.containers * kSuperblockSize;
  const uint64_t index = t.index_bytes - std::min(t.index_bytes, t.codec_bytes);
  const uint64_t known = superblocks + t.index_bytes;
  parts.push_back({"side information", t.side_bytes, "scales of rows and columns"});
  parts.push_back({"codec tables", t.codec_bytes + t.neural_bytes, "entropy tables and nets"});
  parts.push_back({"index", index, "what is where, with a checksum for each chunk"});
  parts.push_back({"metadata files", t.metadata_bytes, "configuration, tokenizer and the like"});
  parts.push_back({"superblock", superblocks, "the fixed beginning of a container"});
  parts.push_back({"padding", t.OverheadBytes() - std::min(t.OverheadBytes(), known),
                   "zeros between the parts, for alignment"});
  return parts;
}

std::string RateSection(const PageContent& c) {
  const std::string title = "Rate and error of each tensor";
  if (!c.pack) {
    return Section(title, Paragraph("The errors of the tensors aren&#39;t stored in the file; "
                                    "the page of <code>nwc-pack --report</code> has them, and "
                                    "<code>nwc diff</code> measures them."));
  }
  std::vector<RatePoint> points;
  for (const TensorInfo& t : c.index.tensors) {
    const auto found = c.pack->errors.find(t.name);
    if (found == c.pack->errors.end() || !(found->second.relative_mse > 0) || t.weights() == 0) {
      continue;
    }
    points.push_back({t.name, TensorKind(t.name), 8 * Ratio(TensorBytes(t), t.weights()),
                      found->second.relative_mse});
  }
  if (points.empty()) return Section(title, Paragraph("No tensor is lossy."));
  return Section(title, FormatRateScatter(points));
}

std::string PackSections(const PackFacts& pack) {
  std::string text = Section("Where the time went", Pair(FormatStageBars(pack.stages)));
  if (pack.remarks.empty()) return text;
  std::string remarks = "<ul>\n";
  for (const std::string& remark : pack.remarks) remarks += "<li>" + HtmlText(remark) + "</li>\n";
  return text + Section("Remarks", remarks + "</ul>\n");
}

std::string TensorTable(const PageContent& c) {
  HtmlTable table{"tensors",
                  "All tensors, in the order of the file",
                  {"tensor", "shape", "dtype", "profile", "bits a weight", "bytes"},
                  "lllrrrrr",
                  {}};
  table.align = "llllrrrr";
  if (c.pack) {
    table.columns.emplace_back("SNR, dB");
    table.columns.emplace_back("KL estimate");
  }
  for (const TensorInfo& t : c.index.tensors) {
    Row row = {
        HtmlName(t.name),
        FormatShape(t.shape),
        DTypeName(t.dtype),
        HtmlText(ProfileOf(t)),
        t.weights() == 0 ? "-" : FormatNumber("%.3f", 8 * Ratio(TensorBytes(t), t.weights())),
        GroupDigits(TensorBytes(t))};
    if (c.pack) {
      const auto found = c.pack->errors.find(t.name);
      const PackFacts::Error error =
          found == c.pack->errors.end() ? PackFacts::Error() : found->second;
      row.push_back(error.relative_mse > 0 ? FormatNumber("%.2f", SignalToNoise(error.relative_mse))
                                           : "-");
      row.push_back(error.kl > 0 ? FormatNumber("%.3g", error.kl) : "-");
    }
    table.rows.push_back(std::move(row));
  }
  return FormatTable(table);
}

std::string Head(const std::string& name) {
  return "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
         "<meta http-equiv=\"Content-Security-Policy\" content=\"" +
         std::string(kPolicy) +
         "\"/>\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
         "<meta name=\"color-scheme\" content=\"light dark\"/>\n<title>" +
         name + " - NWC report</title>\n<style id=\"chart-style\">" + kChartStyle + "</style>\n" +
         "<style>" + kPageStyle + "</style>\n</head>\n";
}

}  // namespace

std::string FormatReportPage(const PageContent& c) {
  const std::string name = HtmlName(c.name);
  std::string page =
      Head(name) + "<body>\n<header>\n<h1>" + name + "</h1>\n" + Summary(c) + "</header>\n<main>\n";
  page += Section("Totals", Pair(FactsTable(c) + ProfileTable(c.totals)));
  if (!c.index.tensors.empty()) {
    page += Section("Bits by layer and kind", FormatBitsMap(MakeBitsGrid(c.index.tensors)));
  }
  page += Section("Where the bytes are", Pair(FormatSizeBar(SizeParts(c.totals))));
  page += RateSection(c);
  if (c.pack) page += PackSections(*c.pack);
  page += Section("Tensors", TensorTable(c));
  return page +
         "</main>\n<footer>NWC report; bytes of a tensor are its chunks, its side "
         "information and the entries of its chunks in the index.</footer>\n"
         "</body>\n</html>\n";
}

}  // namespace nwc
