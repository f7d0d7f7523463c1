#include "tools/display.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tools/progress.h"

namespace nwc {
namespace {

TEST(DisplayTest, QuotedNamesCannotSteerATerminal) {
  EXPECT_EQ(Quote("a\x1b[31m\nb\x7f"), "'a?[31m?b?'");
  EXPECT_LT(Quote(std::string(10'000, 'x')).size(), 200u);
}

TEST(DisplayTest, BytesInPowersOfTen) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(14'200'000), "14.20 MB");
  EXPECT_EQ(FormatBytes(999'999'999), "1.00 GB");
  EXPECT_EQ(FormatBytes(UINT64_MAX), "18.45 EB");
}

TEST(DisplayTest, SecondsMinutesHours) {
  EXPECT_EQ(FormatSeconds(0.421), "0.42 s");
  EXPECT_EQ(FormatSeconds(187), "3:07");
  EXPECT_EQ(FormatSeconds(3765), "1:02:45");
}

TEST(DisplayTest, Shapes) {
  EXPECT_EQ(FormatShape({}), "[]");
  EXPECT_EQ(FormatShape({4096, 1024}), "[4096, 1024]");
}

TEST(ProgressTest, LineTellsSpeedAndRemainingTime) {
  EXPECT_EQ(FormatProgressLine({"packing", "w", 1'000'000'000, 4'000'000'000, 2, 0}),
            "packing:  25 %  0.50 GB/s  ETA 6.00 s  w");
  EXPECT_EQ(FormatProgressLine({"packing", "w", 4'000'000'000, 4'000'000'000, 2, 0}),
            "packing: 100 %  2.00 GB/s  2.00 s  w");
}

TEST(ProgressTest, SpeedCountsFromTheFirstUpdate) {
  EXPECT_EQ(FormatProgressLine({"packing", "w", 3'000'000'000, 4'000'000'000, 2, 1'000'000'000}),
            "packing:  75 %  1.00 GB/s  ETA 1.00 s  w");
  EXPECT_EQ(FormatProgressLine({"packing", "w", 5, 10, 0, 5}), "packing:  50 %  w");
}

TEST(ProgressTest, StepsHaveNoSpeed) {
  EXPECT_EQ(FormatProgressLine({"rate control", "4.5 bits", 0, 1, 1, 0}),
            "rate control:   0 %  4.5 bits");
}

TEST(ProgressTest, BarFitsTheTerminal) {
  const ProgressState state{"packing", std::string(300, 'n') + "\n", 5'000'000, 10'000'000, 1, 0};
  const std::string bar = FormatProgressBar(state, 79);
  EXPECT_EQ(bar.size(), 79u);
  EXPECT_NE(bar.find("[############------------]"), std::string::npos) << bar;
  EXPECT_EQ(FormatProgressBar(state, 10).size(), 10u);
}

TEST(ProgressTest, PipeGetsNoMoreThanALineASecondAndOneAtTheEnd) {
  testing::internal::CaptureStderr();
  {
    Progress progress(false);
    for (uint64_t i = 0; i <= 1000; ++i) progress.Update("packing", "w", i * 10'000, 10'000'000);
    Progress quiet(true);
    quiet.Update("packing", "w", 1, 1);
  }
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1) << text;
  EXPECT_NE(text.find("100 %"), std::string::npos) << text;
}

}  // namespace
}  // namespace nwc
