#include "tools/html_report.h"

#include <filesystem>
#include <utility>

#include "tools/atomic_file.h"
#include "tools/display.h"

namespace nwc {
namespace {

namespace fs = std::filesystem;

Status Usage(const std::string& message) { return Status(ErrorCode::kUsage, message); }

// Whether two paths are one file, which need not be there yet.
bool IsSame(const std::string& a, const std::string& b) {
  std::error_code error;
  if (fs::equivalent(a, b, error)) return true;
  const fs::path real_a = fs::weakly_canonical(a, error);
  if (error) return false;
  const fs::path real_b = fs::weakly_canonical(b, error);
  return !error && real_a == real_b;
}

// What follows the last '/': folders are nobody's business, and a URL has more to hide.
std::string NameOf(const std::string& path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

Status CheckPagePath(const std::string& path, bool overwrite,
                     const std::vector<std::string>& taken) {
  for (const std::string& other : taken) {
    if (other.empty() || !IsSame(path, other)) continue;
    return Usage(path + ": is " + Quote(other) +
                 ", which this command reads or writes, expected another path for the page");
  }
  if (path.ends_with(".nwc") || path.ends_with(".nwc.index.json")) {
    return Usage(path + ": has the name of a container, expected one for a page, as report.html");
  }
  return CheckOutputPath(path, overwrite);
}

Status WriteReportPage(const ModelLoader& model, std::optional<PackFacts> pack,
                       const PageTarget& target) {
  std::vector<std::string> taken = {model.path()};
  for (size_t i = 0; i < model.shard_count(); ++i) taken.push_back(model.shard(i).path());
  NWC_RETURN_IF_ERROR(CheckPagePath(target.path, target.overwrite, taken));
  PageContent content;
  content.name = NameOf(model.path());
  if (model.shard_count() == 1) content.root_hash = ToHex(model.shard(0).superblock().root_hash);
  content.index = JoinIndexes(model);
  content.totals = TotalsOf(model);
  content.pack = std::move(pack);
  const std::string page = FormatReportPage(content);
  NWC_ASSIGN_OR_RETURN(const auto file, AtomicFile::Create(target.path, target.overwrite));
  NWC_RETURN_IF_ERROR(file->Append({reinterpret_cast<const uint8_t*>(page.data()), page.size()}));
  return file->Commit({});
}

}  // namespace nwc
