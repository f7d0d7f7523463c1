#include "tools/pack_report.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

PackReport Sample() {
  PackReport report;
  PackedTensor linear;
  linear.name = "layers.0.w";
  linear.dtype = DType::kBF16;
  linear.shape = {100, 200};
  linear.profile = Profile::kStream;
  linear.linear = true;
  linear.weights = 20'000;
  linear.source_bytes = 40'000;
  linear.packed_bytes = 10'000;
  PackedTensor empty;
  empty.name = "evil\x1b[2J";
  empty.note = "empty: raw";
  report.tensors = {linear, empty};
  report.file_bytes = 15'000;
  report.source_bytes = 40'000;
  report.linear_weights = 20'000;
  report.linear_bits_per_weight = 4;
  return report;
}

bool Contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(PackReportTest, TableHasALineForEachTensorAndTotals) {
  const std::string table = FormatPlanTable(Sample());
  EXPECT_TRUE(Contains(table, "layers.0.w  [100, 200]  BF16")) << table;
  EXPECT_TRUE(Contains(table, "4.00  40.00 kB  10.00 kB")) << table;
  EXPECT_TRUE(Contains(table, "total: 2 tensors, 40.00 kB -> about 15.00 kB (37.5 %)")) << table;
  EXPECT_FALSE(Contains(table, "\x1b")) << table;
}

TEST(PackReportTest, JsonHoldsEveryFigure) {
  const std::string json = FormatReportJson({"out.nwc", Sample(), 1.5});
  for (const char* part :
       {"\"file\": \"out.nwc\"", "\"file_bytes\": 15000", "\"source_bytes\": 40000",
        "\"seconds\": 1.5", "\"linear_weights\": 20000", "\"linear_bits_per_weight\": 4.0",
        "\"bits_per_weight\": 4.0", "\"bits_per_weight\": null", "\"profile\": \"stream\"",
        "\"relative_mse\": 0.0", "\"note\": \"empty: raw\"", "\\u001b"}) {
    EXPECT_TRUE(Contains(json, part)) << part << " in\n" << json;
  }
}

TEST(PackReportTest, StagesWithoutTimeAreLeftOut) {
  StageTimes times;
  AddStages({.analysis = 1, .coding = 2}, &times);
  AddStages({.coding = 3, .writing = 4}, &times);  // a second pack
  ASSERT_EQ(times.stages().size(), 3u);
  EXPECT_EQ(times.stages()[1].stage, "coding and checking");
  EXPECT_EQ(times.stages()[1].seconds, 5);
  EXPECT_EQ(times.Sum(), 10);
}

TEST(PackReportTest, FactsForThePageAreThoseOfTheJson) {
  PackOutcome outcome{"out.nwc", Sample(), 2};
  outcome.report.tensors[0].relative_mse = 0.25;
  outcome.stages = {{"coding", 1.5}, {"other", 0.5}};
  outcome.kl = 0.125;
  const PackFacts facts = FactsOf(outcome);
  EXPECT_EQ(facts.errors.at("layers.0.w").relative_mse, 0.25);
  EXPECT_EQ(facts.stages.size(), 2u);
  EXPECT_EQ(facts.remarks[0], "evil?[2J: empty: raw");
  EXPECT_TRUE(Contains(facts.remarks[1], "0.125 nats a token"));
  EXPECT_TRUE(Contains(FormatReportJson(outcome),
                       "{\n   \"stage\": \"coding\",\n   \"seconds\": 1.5\n  }"));
}

TEST(PackReportTest, NotesAndSummaryAreLines) {
  EXPECT_EQ(FormatNotes(Sample()), "note: evil?[2J: empty: raw\n");
  EXPECT_EQ(FormatSummary({"out.nwc", Sample(), 2}),
            "out.nwc: 2 tensors, 40.00 kB -> 15.00 kB (37.5 %), 4.000 bits a weight of linear "
            "tensors, 2.00 s, 0.0000 GB/s\n");
}

TEST(PackReportTest, RecoveryIsBeforeAndAfter) {
  PackOutcome outcome{"out.nwc", Sample(), 2};
  EXPECT_TRUE(Contains(FormatReportJson(outcome), "\"recovery\": null"));
  outcome.recovery = {false, 0.5, 0.25, 3};
  EXPECT_TRUE(Contains(FormatSummary(outcome), ", recovery: KL 0.5 -> 0.25 nats a token, 2.00 s"));
  EXPECT_TRUE(Contains(FormatReportJson(outcome), "\"before\": 0.5,\n  \"after\": 0.25"));
  outcome.recovery->encoder = true;
  EXPECT_TRUE(Contains(FormatSummary(outcome), ", recovery: 1 - cosine 0.5 -> 0.25, 2.00 s"));
}

}  // namespace
}  // namespace nwc
