#include "tools/html_text.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

const std::string kReplaced = "\xEF\xBF\xBD";  // U+FFFD

TEST(HtmlText, EscapesMarkupAndQuotes) {
  EXPECT_EQ(HtmlText("<script>\"a\" & 'b'</script>"),
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;");
  EXPECT_EQ(HtmlText(""), "");
}

TEST(HtmlText, KeepsCharactersOfAllLengths) {
  const std::string text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80";  // a, é, €, a smile
  EXPECT_EQ(HtmlText(text), text);
}

TEST(HtmlText, ReplacesWhatIsNoUtf8) {
  EXPECT_EQ(HtmlText("\xFF"), kReplaced);
  EXPECT_EQ(HtmlText("\xC3"), kReplaced);                                   // cut off
  EXPECT_EQ(HtmlText("\xC0\xBC"), kReplaced + kReplaced);                   // '<', too long
  EXPECT_EQ(HtmlText("\xED\xA0\x80"), kReplaced + kReplaced + kReplaced);   // a surrogate
  EXPECT_EQ(HtmlText("\xF4\x90\x80\x80").substr(0, 3), kReplaced);          // beyond Unicode
  EXPECT_EQ(HtmlText("\xE2\x82<b>"), kReplaced + kReplaced + "&lt;b&gt;");  // '<' is kept apart
}

TEST(HtmlText, ReplacesControlsAndMarksOfDirection) {
  EXPECT_EQ(HtmlText(std::string("a\0b\n\x1b", 5)), "a" + kReplaced + "b" + kReplaced + kReplaced);
  EXPECT_EQ(HtmlText("\xC2\x85"), kReplaced);      // U+0085
  EXPECT_EQ(HtmlText("\xE2\x80\xAE"), kReplaced);  // U+202E, right-to-left from here
  EXPECT_EQ(HtmlText("\xEF\xBF\xBF"), kReplaced);  // U+FFFF
}

TEST(HtmlText, CutsTheMiddleOfLongNames) {
  EXPECT_EQ(HtmlName(std::string(160, 'a')), std::string(160, 'a'));
  EXPECT_EQ(HtmlName(std::string(500, 'a') + "<"),
            std::string(80, 'a') + "..." + std::string(79, 'a') + "&lt;");
}

TEST(HtmlText, GroupsDigits) {
  EXPECT_EQ(GroupDigits(0), "0");
  EXPECT_EQ(GroupDigits(999), "999");
  EXPECT_EQ(GroupDigits(134'515'008), "134,515,008");
}

TEST(HtmlText, CoordinatesAreShort) {
  EXPECT_EQ(Coordinate(12), "12");
  EXPECT_EQ(Coordinate(12.504), "12.5");
  EXPECT_EQ(Coordinate(0.0 / 0.0), "0");
}

TEST(HtmlText, TablesHaveCaptionsAndScopes) {
  const std::string table = FormatTable({"id", "caption", {"a", "b"}, "lr", {{"1", "2"}}});
  for (const char* part : {"<caption id=\"id\">caption</caption>", "<th scope=\"col\">a</th>",
                           "<th scope=\"col\" class=\"n\">b</th>", "<th scope=\"row\">1</th>",
                           "<td class=\"n\">2</td>", "tabindex=\"0\" aria-labelledby=\"id\""}) {
    EXPECT_NE(table.find(part), std::string::npos) << part << " in\n" << table;
  }
}

}  // namespace
}  // namespace nwc
