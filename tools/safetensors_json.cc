#include "tools/safetensors_json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>
#include <utility>

#include "format/layout.h"
#include "tools/display.h"

namespace nwc {
namespace {

using Json = nlohmann::json;

constexpr const char* kMetadataName = "__metadata__";

// Dtypes that newer safetensors files may have and this version of the container does not.
constexpr std::array<std::string_view, 7> kNewerDTypes = {
    "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "C64"};

std::string Escape(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

// A SAX handler for nlohmann::json. A callback that returns false ends the parse.
class HeaderHandler {
 public:
  explicit HeaderHandler(SafetensorsHeader* header) : header_(header) {}

  [[nodiscard]] const Status& status() const { return status_; }

  bool null() { return Unexpected("null"); }
  bool boolean(bool) { return Unexpected("a boolean"); }
  bool number_integer(int64_t v) { return Unexpected(std::to_string(v)); }
  bool number_float(double, const std::string& text) { return Unexpected(text); }
  bool binary(Json::binary_t&) { return Unexpected("binary"); }

  bool number_unsigned(uint64_t value) {
    if (place_ == Place::kShape) return AddDimension(value);
    if (place_ != Place::kOffsets) return Unexpected(std::to_string(value));
    if (offsets_.size() == 2) return Fail("data_offsets has more than two numbers, expected two");
    offsets_.push_back(value);
    return true;
  }

  bool string(std::string& value) {
    if (place_ == Place::kMetadata) {
      AddMetadata(value);
      return true;
    }
    if (place_ == Place::kTensor && field_ == "dtype") return SetDType(value);
    return Unexpected("the string " + Quote(value));
  }

  bool start_object(size_t) {
    if (place_ == Place::kOutside) {
      place_ = Place::kHeader;
    } else if (place_ == Place::kHeader) {
      place_ = tensor_ == kMetadataName ? Place::kMetadata : Place::kTensor;
      fields_.clear();
      entry_ = {};
      dtype_.reset();
      metadata_ = "{";
    } else {
      return Unexpected("an object");
    }
    return true;
  }

  bool key(std::string& name) {
    if (place_ == Place::kHeader) return BeginTensor(name);
    field_ = name;
    if (place_ == Place::kTensor && name != "dtype" && name != "shape" && name != "data_offsets") {
      return Fail("unknown field " + Quote(name) + ", expected dtype, shape and data_offsets");
    }
    if (!fields_.insert(name).second) return Fail("field " + Quote(name) + " is there twice");
    return true;
  }

  bool end_object() {
    if (place_ == Place::kTensor && !EndTensor()) return false;
    if (place_ == Place::kMetadata) header_->metadata = metadata_ + "}";
    place_ = place_ == Place::kHeader ? Place::kOutside : Place::kHeader;
    return true;
  }

  bool start_array(size_t) {
    if (place_ != Place::kTensor || field_ == "dtype") return Unexpected("an array");
    place_ = field_ == "shape" ? Place::kShape : Place::kOffsets;
    offsets_.clear();
    return true;
  }

  bool end_array() {
    if (place_ == Place::kOffsets) {
      if (offsets_.size() != 2)
        return Fail("data_offsets has fewer than two numbers, expected two");
      entry_.begin = offsets_[0];
      entry_.end = offsets_[1];
    }
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string& token, const Json::exception&) {
    status_ = Status(ErrorCode::kCorrupt, "the header is not JSON at its byte " +
                                              std::to_string(position) + " near " + Quote(token) +
                                              ", expected a JSON object");
    return false;
  }

 private:
  enum class Place { kOutside, kHeader, kMetadata, kTensor, kShape, kOffsets };

  bool Fail(const std::string& message, ErrorCode code = ErrorCode::kCorrupt) {
    const std::string where =
        place_ == Place::kMetadata ? std::string(kMetadataName) : "tensor " + Quote(tensor_);
    status_ = Status(code, where + ": " + message);
    return false;
  }

  bool Unexpected(const std::string& found) {
    switch (place_) {
      case Place::kOutside:
        status_ = Status(ErrorCode::kCorrupt, "the header is " + found + ", expected an object");
        return false;
      case Place::kHeader:
        return Fail("is " + found + ", expected an object");
      case Place::kMetadata:
        return Fail(Quote(field_) + " is " + found + ", expected a string");
      case Place::kTensor:
        return Fail(field_ + " is " + found +
                    (field_ == "dtype" ? ", expected a string" : ", expected an array"));
      default:
        return Fail(field_ + " holds " + found + ", expected whole numbers from 0 to 2^64 - 1");
    }
  }

  bool BeginTensor(const std::string& name) {
    tensor_ = name;
    if (!names_.insert(name).second) return Fail("the name is there twice, expected once");
    if (name.empty() || name.size() > kMaxNameBytes) {
      return Fail("the name has " + std::to_string(name.size()) + " bytes, expected 1 to " +
                      std::to_string(kMaxNameBytes),
                  ErrorCode::kUnsupported);
    }
    return true;
  }

  bool SetDType(const std::string& name) {
    dtype_ = DTypeFromName(name);
    if (dtype_) return true;
    const bool newer =
        std::find(kNewerDTypes.begin(), kNewerDTypes.end(), name) != kNewerDTypes.end();
    return Fail("dtype " + Quote(name) + " is unknown, expected BOOL, U8 ... F64, BF16 or F8",
                newer ? ErrorCode::kUnsupported : ErrorCode::kCorrupt);
  }

  bool AddDimension(uint64_t size) {
    if (entry_.shape.size() == kMaxDimensions) {
      return Fail("the shape has more than " + std::to_string(kMaxDimensions) + " dimensions, " +
                      "the most a container holds",
                  ErrorCode::kUnsupported);
    }
    entry_.shape.push_back(size);
    return true;
  }

  void AddMetadata(const std::string& value) {
    if (metadata_.size() > 1) metadata_ += ",";
    metadata_ += Escape(field_) + ":" + Escape(value);
  }

  bool EndTensor() {
    for (const char* field : {"dtype", "shape", "data_offsets"}) {
      if (!fields_.contains(field)) {
        return Fail(std::string(field) + " is missing, expected dtype, shape and data_offsets");
      }
    }
    entry_.name = tensor_;
    entry_.dtype = *dtype_;
    header_->entries.push_back(std::move(entry_));
    return true;
  }

  SafetensorsHeader* header_;
  Status status_;
  Place place_ = Place::kOutside;
  std::unordered_set<std::string> names_;   // of the header
  std::unordered_set<std::string> fields_;  // of the tensor or the metadata being read
  std::string tensor_, field_, metadata_;
  std::optional<DType> dtype_;
  std::vector<uint64_t> offsets_;
  SafetensorsEntry entry_;
};

}  // namespace

Status ParseSafetensorsJson(std::string_view text, SafetensorsHeader* header) {
  HeaderHandler handler(header);
  if (Json::sax_parse(text.begin(), text.end(), &handler)) return {};
  if (handler.status().ok()) return Status(ErrorCode::kCorrupt, "the header is not JSON");
  return handler.status();
}

}  // namespace nwc
