#include "tools/pack_arguments.h"

#include <gtest/gtest.h>

namespace nwc {
namespace {

PackArguments Parse(const std::vector<std::string>& line) {
  const auto command = ParsePackArguments(line);
  EXPECT_TRUE(command.ok()) << command.status().ToString();
  if (!command.ok() || !command->arguments) return {};
  return *command->arguments;
}

void ExpectUsage(const std::vector<std::string>& line, const std::string& why) {
  const auto command = ParsePackArguments(line);
  ASSERT_FALSE(command.ok());
  EXPECT_EQ(command.status().code(), ErrorCode::kUsage);
  EXPECT_NE(command.status().message().find(why), std::string::npos) << command.status().message();
}

PackRule Rule(const std::string& text) {
  const auto rule = ParsePackRule(text);
  EXPECT_TRUE(rule.ok()) << rule.status().ToString();
  return rule.ok() ? *rule : PackRule();
}

TEST(PackArgumentsTest, DefaultsAreThoseOfTheEncoder) {
  const PackArguments a = Parse({"in", "-o", "out"});
  EXPECT_EQ(a.input, "in");
  EXPECT_EQ(a.output, "out");
  EXPECT_EQ(a.options.profile, PackOptions().profile);
  EXPECT_EQ(a.options.bits, PackOptions().bits);
  EXPECT_EQ(a.options.trellis, PackOptions().trellis);
  EXPECT_TRUE(a.options.roundtrip);
  EXPECT_EQ(a.options.producer, PackProducer());
  EXPECT_FALSE(a.dry_run || a.force || a.quiet || a.json);
}

TEST(PackArgumentsTest, ReadsEveryOption) {
  const PackArguments a = Parse({"--rule",      "a=exact",
                                 "in",          "--rule=b=stream:3.5",
                                 "--profile",   "exact",
                                 "--bits",      "6",
                                 "--include",   "x",
                                 "--exclude",   "y",
                                 "--threads",   "2",
                                 "--force",     "-q",
                                 "--json",      "--no-roundtrip",
                                 "--quantizer", "trellis4",
                                 "-o",          "out"});
  EXPECT_EQ(a.input, "in");
  ASSERT_EQ(a.options.rules.size(), 2u);
  EXPECT_EQ(a.options.rules[1].bits, 3.5);
  EXPECT_EQ(a.options.profile, Profile::kExact);
  EXPECT_EQ(a.options.bits, 6);
  EXPECT_EQ(a.options.include, "x");
  EXPECT_EQ(a.options.exclude, "y");
  EXPECT_EQ(a.options.threads, 2);
  EXPECT_EQ(a.options.trellis, TrellisId::kFourStates);
  EXPECT_TRUE(a.force && a.quiet && a.json && !a.options.roundtrip);
}

TEST(PackArgumentsTest, OutputIsNeededExceptInADryRun) {
  ExpectUsage({"in"}, "-o is missing");
  EXPECT_TRUE(Parse({"in", "--dry-run"}).dry_run);
}

TEST(PackArgumentsTest, WrongUsageIsExplained) {
  ExpectUsage({}, "INPUT");
  ExpectUsage({"in", "-o", "out", "--nonsense"}, "--nonsense");
  ExpectUsage({"in", "-o", "out", "--profile", "best"}, "best");
  ExpectUsage({"in", "-o", "out", "--bits", "many"}, "many");
  ExpectUsage({"in", "-o", "out", "--threads", "-1"}, "-1");
  ExpectUsage({"in", "-o", "out", "--quantizer", "trellis16"}, "trellis16");
  ExpectUsage({"in", "-o", "out", "--include", "("}, "--include: '('");
}

TEST(PackArgumentsTest, BitsOutOfRangeSayWhatToUse) {
  for (const char* bits : {"0.9", "7.1", "nan", "inf", "-4"}) {
    ExpectUsage({"in", "-o", "out", "--bits", bits}, "--profile exact");
  }
}

TEST(PackArgumentsTest, HelpAndVersionAreTexts) {
  const auto help = ParsePackArguments({"--help"});
  ASSERT_TRUE(help.ok() && !help->arguments);
  EXPECT_NE(help->text.find("Examples:"), std::string::npos);
  EXPECT_NE(help->text.find("Exit codes:"), std::string::npos);
  const auto version = ParsePackArguments({"--version"});
  ASSERT_TRUE(version.ok() && !version->arguments);
  EXPECT_EQ(version->text.find(PackProducer()), 0u);
}

TEST(PackRuleTest, SplitsAtTheLastEqualsSignBeforeAProfile) {
  EXPECT_EQ(Rule("down_proj=stream:5").regex, "down_proj");
  EXPECT_EQ(Rule("down_proj=stream:5").bits, 5);
  EXPECT_EQ(Rule("a=b=raw").regex, "a=b");
  EXPECT_EQ(Rule("a=raw").profile, Profile::kRaw);
  EXPECT_EQ(Rule("a=exact=exact").regex, "a=exact");
  EXPECT_EQ(Rule("(?=x)y=stream").regex, "(?=x)y");
  EXPECT_EQ(Rule("a=stream").bits, 0);
}

TEST(PackRuleTest, BadRulesAreShown) {
  for (const char* bad : {"a", "=exact", "a=", "a=fast", "exact", "(=exact", "a=stream:",
                          "a=stream:x", "a=stream:8", "a=stream:0.5", "a=exact:4", "a=stream:4x"}) {
    const auto rule = ParsePackRule(bad);
    ASSERT_FALSE(rule.ok()) << bad;
    EXPECT_EQ(rule.status().code(), ErrorCode::kUsage);
    EXPECT_NE(rule.status().message().find(std::string("'") + bad + "'"), std::string::npos)
        << rule.status().message();
  }
}

TEST(PackArgumentsTest, ShardSizesHaveUnits) {
  EXPECT_EQ(Parse({"in", "-o", "out.nwc"}).shard_bytes, 0u);
  const auto bytes = [](const std::string& size) {
    return Parse({"in", "-o", "out.nwc", "--shard-size", size}).shard_bytes;
  };
  EXPECT_EQ(bytes("4096"), 4096u);
  EXPECT_EQ(bytes("700kB"), 700'000u);
  EXPECT_EQ(bytes("512MiB"), 512u << 20);
  EXPECT_EQ(bytes("5GB"), 5'000'000'000u);
  EXPECT_EQ(bytes("5 GiB"), 5ull << 30);
  ExpectUsage({"in", "-o", "out.nwc", "--shard-size", "0"}, "--shard-size");
  ExpectUsage({"in", "-o", "out.nwc", "--shard-size", "5 parsecs"}, "--shard-size");
}

}  // namespace
}  // namespace nwc
