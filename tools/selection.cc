#include "tools/selection.h"

#include <charconv>
#include <regex>
#include <set>
#include <string_view>

#include "tools/display.h"

namespace nwc {
namespace {

struct LayerRange {
  uint64_t first, last;  // both included
};

bool ParseNumber(std::string_view text, uint64_t* number) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *number);
  return error == std::errc() && stop == end;
}

Result<LayerRange> ParseLayers(const std::string& text) {
  const size_t dash = text.find('-');
  const std::string_view all(text);
  LayerRange range{};
  bool good = ParseNumber(all.substr(0, dash), &range.first);
  range.last = range.first;
  if (dash != std::string::npos) {
    good = good && ParseNumber(all.substr(dash + 1), &range.last) && range.first <= range.last;
  }
  if (good) return range;
  return Status(ErrorCode::kUsage, "--layers " + Quote(text) +
                                       ": no range of layers, expected a number or "
                                       "FIRST-LAST as in --layers 0-3");
}

Result<std::regex> Compile(const std::string& text) {
  try {
    return std::regex(text, std::regex::ECMAScript | std::regex::optimize);
  } catch (const std::regex_error& e) {
    return Status(ErrorCode::kUsage, "--tensor " + Quote(text) + ": no regular expression (" +
                                         e.what() +
                                         "), expected ECMAScript syntax; put '\\' before a "
                                         "literal . ( [ { * + ?");
  }
}

std::string AvailableLayers(const ModelLoader& model) {
  std::set<uint64_t> layers;
  for (size_t i = 0; i < model.tensor_count(); ++i) {
    if (const auto layer = LayerNumber(model.tensor(i).name)) layers.insert(*layer);
  }
  if (layers.empty()) return "no tensor has a layer number in its name; use --tensor REGEX";
  return "there are layers " + std::to_string(*layers.begin()) + " to " +
         std::to_string(*layers.rbegin());
}

Status NoSuchTensor(const ModelLoader& model, const std::string& regex) {
  const Status similar = model.Find(regex).status();
  const std::string where = "--tensor " + Quote(regex) + " matches nothing in ";
  if (similar.ok()) {
    return Status(ErrorCode::kNotFound, where + model.path() +
                                            ", though a tensor has this name; put '\\' before "
                                            "special characters");
  }
  const bool has_hint = similar.message().find(';') != std::string::npos;
  return Status(
      ErrorCode::kNotFound,
      where + similar.message() +
          (has_hint ? "" : "; nwc inspect lists the names, and " + AvailableLayers(model)));
}

Status AddMatches(const ModelLoader& model, const std::string& regex, std::set<size_t>* chosen) {
  NWC_ASSIGN_OR_RETURN(const std::regex compiled, Compile(regex));
  bool any = false;
  try {
    for (size_t i = 0; i < model.tensor_count(); ++i) {
      if (!std::regex_search(model.tensor(i).name, compiled)) continue;
      chosen->insert(i);
      any = true;
    }
  } catch (const std::regex_error& e) {  // a search that explodes
    return Status(ErrorCode::kUsage, "--tensor " + Quote(regex) + ": too complex (" + e.what() +
                                         "), expected a simpler expression");
  }
  return any ? Status() : NoSuchTensor(model, regex);
}

Status AddLayers(const ModelLoader& model, const std::string& text, std::set<size_t>* chosen) {
  NWC_ASSIGN_OR_RETURN(const LayerRange range, ParseLayers(text));
  bool any = false;
  for (size_t i = 0; i < model.tensor_count(); ++i) {
    const auto layer = LayerNumber(model.tensor(i).name);
    if (!layer || *layer < range.first || *layer > range.last) continue;
    chosen->insert(i);
    any = true;
  }
  if (any) return {};
  return Status(ErrorCode::kNotFound, "--layers " + text + " matches nothing in " + model.path() +
                                          ": " + AvailableLayers(model));
}

}  // namespace

Status CheckSelection(const Selection& selection) {
  if (selection.regexes.empty() && selection.layers.empty()) {
    return Status(ErrorCode::kUsage,
                  "nothing is selected, expected --tensor REGEX or --layers A-B");
  }
  for (const std::string& r : selection.regexes) NWC_RETURN_IF_ERROR(Compile(r).status());
  for (const std::string& l : selection.layers) NWC_RETURN_IF_ERROR(ParseLayers(l).status());
  return {};
}

Result<std::vector<size_t>> SelectTensors(const ModelLoader& model, const Selection& selection) {
  std::set<size_t> chosen;
  for (const std::string& r : selection.regexes) {
    NWC_RETURN_IF_ERROR(AddMatches(model, r, &chosen));
  }
  for (const std::string& l : selection.layers) {
    NWC_RETURN_IF_ERROR(AddLayers(model, l, &chosen));
  }
  return std::vector<size_t>(chosen.begin(), chosen.end());
}

}  // namespace nwc
