#include "tools/report_page.h"

#include <gtest/gtest.h>

#include "tests/tools/temporary_folder.h"
#include "tools/html_report.h"

namespace nwc {
namespace {

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

PageContent Sample(const std::string& name = "layers.0.q.weight") {
  TensorInfo t;
  t.name = name;
  t.profile_value = static_cast<uint8_t>(Profile::kStream);
  t.linear = true;
  t.shape = {100, 80};
  t.rows = 100;
  t.columns = 80;
  t.stream = StreamInfo();
  t.stream->side = {4096, 500, 0};
  t.chunks = {{5000, 0, 3476}};  // 4000 bytes with side information and entry
  PageContent content;
  content.name = "model.nwc";
  content.index.tensors = {t};
  content.index.shards = {{"model.safetensors", ""}};
  content.index.options = "{\"profile\":\"stream\",\"bits\":4.0}";
  AddTotals(content.index, 10'000, &content.totals);
  content.totals.index_bytes = 1000;
  return content;
}

PackFacts Facts() {
  PackFacts facts;
  facts.errors["layers.0.q.weight"] = {0.01, 0.002};
  facts.stages = {{"analysis", 1}, {"coding", 3}};
  facts.remarks = {"embed: <empty>"};
  return facts;
}

TEST(ReportPage, HoldsTotalsAndTensors) {
  const std::string page = FormatReportPage(Sample());
  for (const char* part :
       {"<html lang=\"en\">", "<h1>model.nwc</h1>", "10,000 bytes (10.00 kB)",
        "<strong>10.00 bits a weight</strong>", "<strong>4.00</strong> of its linear tensors",
        "profile stream, bits 4.0", "model.safetensors", "<th scope=\"row\">layers.0.q.weight</th>",
        "[100, 80]", "name=\"viewport\""}) {
    EXPECT_TRUE(Contains(page, part)) << part << " in\n" << page;
  }
}

TEST(ReportPage, IsTheSameEveryTime) {
  EXPECT_EQ(FormatReportPage(Sample()), FormatReportPage(Sample()));
}

TEST(ReportPage, CountsEveryByteOnce) {
  const std::string page = FormatReportPage(Sample());
  for (const char* row :
       {"stream payload</th><td class=\"n\">3,476<", "side information</th><td class=\"n\">500<",
        "index</th><td class=\"n\">1,000<", "superblock</th><td class=\"n\">4,096<",
        "padding</th><td class=\"n\">928<", "all</th><td class=\"n\">10,000<"}) {
    EXPECT_TRUE(Contains(page, row)) << row << " in\n" << page;
  }
}

TEST(ReportPage, NeedsNothingElse) {
  PageContent content = Sample();
  content.pack = Facts();
  const std::string page = FormatReportPage(content);
  for (const char* part :
       {"http:", "https:", "//", "<script", "<link", "@import", "url(\"", " style=\"", "onclick"}) {
    EXPECT_FALSE(Contains(page, part)) << part;
  }
  EXPECT_TRUE(Contains(page, "default-src &#39;none&#39;"));
}

TEST(ReportPage, NamesCannotBreakOut) {
  const std::string evil = "layers.1.\"><script>alert(1)</script>\xFF\xE2\x80\xAE.weight";
  PageContent content = Sample(evil);
  content.name = content.index.producer = content.index.options = evil;
  content.index.shards = {{evil, ""}};
  content.index.files = {{evil, {}}};
  content.pack = Facts();
  content.pack->errors[evil] = {0.01, 0};
  content.pack->stages = {{evil, 1}};
  content.pack->remarks = {evil};
  const std::string page = FormatReportPage(content);
  EXPECT_FALSE(Contains(page, "<script"));
  EXPECT_FALSE(Contains(page, "\xFF"));
  EXPECT_FALSE(Contains(page, "\xE2\x80\xAE"));
  EXPECT_TRUE(Contains(page, "&quot;&gt;&lt;script&gt;alert(1)"));
}

TEST(ReportPage, ErrorsAndTimesAreThoseOfThePack) {
  const std::string without = FormatReportPage(Sample());
  EXPECT_TRUE(Contains(without, "errors of the tensors aren&#39;t stored"));
  EXPECT_FALSE(Contains(without, "id=\"rate-scatter\""));
  PageContent content = Sample();
  content.pack = Facts();
  const std::string page = FormatReportPage(content);
  for (const char* part :
       {"id=\"rate-scatter\"", ": 4.00 bits, 20.0 dB", "<td class=\"n\">20.00</td>",
        "<td class=\"n\">0.002</td>", "coding</th><td class=\"n\">3.000</td><td class=\"n\">75.0 %",
        "<li>embed: &lt;empty&gt;</li>"}) {
    EXPECT_TRUE(Contains(page, part)) << part << " in\n" << page;
  }
}

TEST(ReportPage, AModelOfNothingHasAPage) {
  PageContent content;
  content.totals.file_bytes = 4096;
  content.totals.containers = 1;
  EXPECT_TRUE(Contains(FormatReportPage(content), "0 weights in 0 tensors"));
}

TEST(PagePath, IsNoOtherFileOfTheCommand) {
  const TemporaryFolder folder;
  const std::string page = folder.Path("report.html");
  EXPECT_TRUE(CheckPagePath(page, false, {"", folder.Path("m.nwc")}).ok());
  EXPECT_EQ(CheckPagePath(page, true, {folder.Path("./report.html")}).code(), ErrorCode::kUsage);
  EXPECT_EQ(CheckPagePath(folder.Path("m.nwc"), true, {}).code(), ErrorCode::kUsage);
  EXPECT_EQ(CheckPagePath(folder.Path("no/r.html"), true, {}).code(), ErrorCode::kUsage);
}

}  // namespace
}  // namespace nwc
