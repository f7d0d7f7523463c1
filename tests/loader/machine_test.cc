#include "loader/machine.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <numeric>
#include <thread>

#include "loader/loader.h"

namespace nwc {
namespace {

CpuList Cpus(size_t begin, size_t end) {
  CpuList cpus(end - begin);
  std::iota(cpus.begin(), cpus.end(), begin);
  return cpus;
}

TEST(DefaultThreads, IsOneAProcessorOfTheMask) {
  EXPECT_EQ(DefaultThreads({Cpus(0, 8), {}, {}}), 8u);
  EXPECT_EQ(DefaultThreads({{1, 5, 70}, {}, {}}), 3u);
  EXPECT_EQ(DefaultThreads({}), 1u);
}

TEST(DefaultThreads, FollowsTheQuotaWhereThatIsLower) {
  EXPECT_EQ(DefaultThreads({Cpus(0, 8), {}, 2.0}), 2u);
  EXPECT_EQ(DefaultThreads({Cpus(0, 8), {}, 2.5}), 3u);
  EXPECT_EQ(DefaultThreads({Cpus(0, 8), {}, 0.1}), 1u);
  EXPECT_EQ(DefaultThreads({Cpus(0, 8), {}, 0.0}), 1u);
  EXPECT_EQ(DefaultThreads({Cpus(0, 8), {}, 64.0}), 8u);
}

TEST(DefaultThreads, CountsProcessorsOfNodesOnly) {
  const std::vector<CpuList> nodes = {Cpus(0, 4), Cpus(4, 8), {}};
  EXPECT_EQ(DefaultThreads({Cpus(0, 8), nodes, {}}), 8u);
  EXPECT_EQ(DefaultThreads({Cpus(2, 6), nodes, {}}), 4u);
  EXPECT_EQ(DefaultThreads({Cpus(4, 16), nodes, {}}), 4u);
  EXPECT_EQ(DefaultThreads({Cpus(4, 16), nodes, 3.0}), 3u);
}

TEST(CpuListTest, ReadsRangesAndNumbers) {
  EXPECT_EQ(ParseCpuList("0-3,8\n"), (CpuList{0, 1, 2, 3, 8}));
  EXPECT_EQ(ParseCpuList("5"), CpuList{5});
  EXPECT_EQ(ParseCpuList("\n"), CpuList{});
  EXPECT_EQ(ParseCpuList(""), CpuList{});
  for (const char* text : {"x", "1-", "3-1", "1,", "1 2", "0-99999999999", "-1"}) {
    EXPECT_EQ(ParseCpuList(text), std::nullopt) << text;
  }
}

TEST(CpuQuotaTest, IsQuotaOverPeriod) {
  EXPECT_EQ(ParseCpuQuota("150000 100000\n"), 1.5);
  for (const char* text : {"max 100000\n", "", "1", "1 0", "1 x"}) {
    EXPECT_EQ(ParseCpuQuota(text), std::nullopt) << text;
  }
}

TEST(MachineFactsTest, FollowTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const MachineFacts facts = ReadMachineFacts();
  EXPECT_EQ(facts.allowed.size(), static_cast<size_t>(CPU_COUNT(&before)));
  EXPECT_LE(DefaultDecodeThreads(), facts.allowed.size());
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(facts.allowed.back(), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  EXPECT_EQ(ReadMachineFacts().allowed, CpuList{facts.allowed.back()});
  EXPECT_EQ(DefaultDecodeThreads(), 1u);
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
}

}  // namespace
}  // namespace nwc
