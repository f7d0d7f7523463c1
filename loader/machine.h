// How many threads the machine has for this process.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace nwc {

using CpuList = std::vector<size_t>;  // numbers of logical processors, ascending

struct MachineFacts {
  CpuList allowed;              // where the process may run; empty when not known
  std::vector<CpuList> nodes;   // processors of each NUMA node; empty when not known
  std::optional<double> quota;  // of processor time, in processors (cgroup v2), if limited
};

MachineFacts ReadMachineFacts();

// One thread for each processor that the process may use and that is on a node, and no more than
// the quota, rounded up, keeps busy; at least one. Pure.
size_t DefaultThreads(const MachineFacts& facts);

// "0-3,8" as in cpulist files of the kernel, or nothing. Pure.
std::optional<CpuList> ParseCpuList(std::string_view text);
// "150000 100000" of cpu.max as 1.5; nothing for "max". Pure.
std::optional<double> ParseCpuQuota(std::string_view text);

}  // namespace nwc
