#include "tools/shard_index.h"

#include <algorithm>
#include <new>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "format/layout.h"
#include "tools/display.h"

namespace nwc {
namespace {

using Json = nlohmann::json;

constexpr int kMaxNesting = 8;
constexpr int kMapNesting = 2;  // of the entries of weight_map

// A SAX handler for nlohmann::json. A callback that returns false ends the parse.
class IndexHandler {
 public:
  [[nodiscard]] const Status& status() const { return status_; }
  [[nodiscard]] bool found() const { return found_; }
  std::map<std::string, std::string> TakeMap() { return std::move(map_); }

  bool null() { return Value("null"); }
  bool boolean(bool) { return Value("a boolean"); }
  bool number_integer(int64_t v) { return Value(std::to_string(v)); }
  bool number_unsigned(uint64_t v) { return Value(std::to_string(v)); }
  bool number_float(double, const std::string& text) { return Value(text); }
  bool binary(Json::binary_t&) { return Value("binary"); }

  bool string(std::string& file) {
    if (!in_map_) return Value("a string");
    if (const Status s = CheckFileName(file); !s.ok()) {
      return Fail("the file of tensor " + Quote(tensor_) + " is not acceptable: " + s.message());
    }
    map_[tensor_] = file;
    return true;
  }

  bool key(std::string& name) {
    if (nesting_ == 1) {
      is_map_ = name == "weight_map";
      if (is_map_ && found_) return Fail("weight_map is there twice, expected once");
    }
    if (!in_map_) return true;
    tensor_ = name;
    return seen_.insert(name).second || Fail("tensor " + Quote(name) + " is there twice");
  }

  bool start_object(size_t) {
    if (in_map_) return Value("an object");
    if (nesting_ == 1 && is_map_) in_map_ = found_ = true;
    return Deeper();
  }
  bool end_object() {
    if (nesting_ == kMapNesting) in_map_ = false;
    --nesting_;
    return true;
  }
  bool start_array(size_t) { return Value("an array") && Deeper(); }
  bool end_array() {
    --nesting_;
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const Json::exception&) {
    return Fail("not JSON at byte " + std::to_string(position) + " near " + Quote(token));
  }

 private:
  bool Fail(const std::string& message) {
    status_ = Status(ErrorCode::kCorrupt, message);
    return false;
  }

  // A value where weight_map wants an object or its entries want strings is an error; elsewhere it
  // does not matter.
  bool Value(const std::string& found) {
    if (in_map_) {
      return Fail("the file of tensor " + Quote(tensor_) + " is " + found + ", expected a string");
    }
    if (nesting_ == 1 && is_map_) return Fail("weight_map is " + found + ", expected an object");
    return nesting_ != 0 || Fail("the text is " + found + ", expected an object");
  }

  bool Deeper() {
    return ++nesting_ <= kMaxNesting ||
           Fail("nested more than " + std::to_string(kMaxNesting) + " levels deep");
  }

  Status status_;
  int nesting_ = 0;
  bool is_map_ = false;  // the value of key "weight_map" comes next
  bool in_map_ = false;
  bool found_ = false;
  std::string tensor_;
  std::map<std::string, std::string> map_;
  std::unordered_set<std::string> seen_;
};

Result<std::map<std::string, std::string>> Parse(std::string_view json) {
  if (json.find('\0') != std::string_view::npos) {
    return Status(ErrorCode::kCorrupt, "holds a zero byte, expected JSON");
  }
  IndexHandler handler;
  if (!Json::sax_parse(json.begin(), json.end(), &handler)) {
    return handler.status().ok() ? Status(ErrorCode::kCorrupt, "not JSON") : handler.status();
  }
  if (!handler.found()) {
    return Status(ErrorCode::kCorrupt, "weight_map is missing, expected an object of file names");
  }
  return handler.TakeMap();
}

}  // namespace

Result<std::map<std::string, std::string>> ParseShardIndex(std::string_view json) {
  try {
    return Parse(json);
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory, "no memory to parse it");
  }
}

Status CheckFileName(const std::string& name) {
  const bool plain = std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20;
  });
  if (plain && !name.empty() && name.size() <= kMaxFileNameBytes && name != "." && name != "..") {
    return {};
  }
  return Status(
      ErrorCode::kCorrupt,
      "file name " + Quote(name) +
          ", expected 1 to 255 bytes without '/', '\\' or control bytes, not '.' or '..'");
}

}  // namespace nwc
