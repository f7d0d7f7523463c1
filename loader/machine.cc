#include "loader/machine.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <string>
#include <thread>

#include "loader/loader.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostCpus = 1 << 16;

std::string ReadText(const fs::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// A number at the beginning of *text, which it is cut off from.
std::optional<size_t> TakeNumber(std::string_view* text) {
  size_t number = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), number);
  if (error != std::errc()) return std::nullopt;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return number;
}

bool TakeCharacter(char c, std::string_view* text) {
  if (!text->starts_with(c)) return false;
  text->remove_prefix(1);
  return true;
}

CpuList AllowedCpus() {
  for (size_t count = 1024; count <= kMostCpus; count *= 2) {
    cpu_set_t* const set = CPU_ALLOC(count);
    if (set == nullptr) return {};
    const size_t size = CPU_ALLOC_SIZE(count);
    CpuList cpus;
    const bool known = sched_getaffinity(0, size, set) == 0;  // refuses sets that are too small
    for (size_t i = 0; known && i < count; ++i) {
      if (CPU_ISSET_S(i, size, set)) cpus.push_back(i);
    }
    CPU_FREE(set);
    if (known) return cpus;
  }
  return {};
}

std::vector<CpuList> Nodes() {
  std::vector<CpuList> nodes;
  std::error_code error;
  fs::directory_iterator entry("/sys/devices/system/node", error);
  for (; !error && entry != fs::directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with("node")) continue;
    if (const auto cpus = ParseCpuList(ReadText(entry->path() / "cpulist"))) nodes.push_back(*cpus);
  }
  return nodes;
}

// The smallest of the process's cgroup and those around it.
std::optional<double> Quota() {
  constexpr std::string_view kUnified = "0::/";
  const std::string groups = ReadText("/proc/self/cgroup");
  const size_t at = groups.find(kUnified);
  if (at == std::string::npos) return std::nullopt;
  const size_t begin = at + kUnified.size();
  const fs::path root = "/sys/fs/cgroup";
  fs::path group = root / groups.substr(begin, groups.find('\n', begin) - begin);
  std::optional<double> smallest;
  while (true) {
    const auto quota = ParseCpuQuota(ReadText(group / "cpu.max"));
    if (quota) smallest = std::min(*quota, smallest.value_or(*quota));
    if (group == root || !group.has_relative_path()) return smallest;
    group = group.parent_path();
  }
}

}  // namespace

std::optional<CpuList> ParseCpuList(std::string_view text) {
  CpuList cpus;
  while (!text.empty() && text[0] != '\n') {
    if (!cpus.empty() && !TakeCharacter(',', &text)) return std::nullopt;
    const auto first = TakeNumber(&text);
    auto last = first;
    if (TakeCharacter('-', &text)) last = TakeNumber(&text);
    if (!first || !last || *first > *last || *last >= kMostCpus) return std::nullopt;
    for (size_t cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

std::optional<double> ParseCpuQuota(std::string_view text) {
  const auto quota = TakeNumber(&text);
  if (!quota || !TakeCharacter(' ', &text)) return std::nullopt;
  const auto period = TakeNumber(&text);
  if (!period || *period == 0) return std::nullopt;
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

size_t DefaultThreads(const MachineFacts& facts) {
  const auto on_a_node = [&](size_t cpu) {
    return facts.nodes.empty() ||
           std::any_of(facts.nodes.begin(), facts.nodes.end(), [&](const CpuList& node) {
             return std::find(node.begin(), node.end(), cpu) != node.end();
           });
  };
  auto threads =
      static_cast<size_t>(std::count_if(facts.allowed.begin(), facts.allowed.end(), on_a_node));
  if (facts.quota && *facts.quota < static_cast<double>(threads)) {
    threads = static_cast<size_t>(std::ceil(*facts.quota));
  }
  return std::max<size_t>(threads, 1);
}

MachineFacts ReadMachineFacts() {
  MachineFacts facts;
  facts.allowed = AllowedCpus();
  if (facts.allowed.empty()) {  // the mask is not told
    facts.allowed.resize(std::thread::hardware_concurrency());
    std::iota(facts.allowed.begin(), facts.allowed.end(), size_t{0});
  }
  facts.nodes = Nodes();
  facts.quota = Quota();
  return facts;
}

size_t DefaultDecodeThreads() { return DefaultThreads(ReadMachineFacts()); }

}  // namespace nwc
