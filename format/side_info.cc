// Vectors, each: kind (1 byte), base (i16), and for kind 1: width (1 byte), Rice codes.
#include "format/side_info.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "format/synthesis.h"

namespace nwc {
namespace {

constexpr int kMaxWidth = 12;
constexpr uint32_t kEscapeQuotient = 16;
constexpr int kEscapeBits = 12;
constexpr int kExponentLimit = 100;

uint32_t Zigzag(int d) {
  return d >= 0 ? 2u * static_cast<uint32_t>(d) : 2u * static_cast<uint32_t>(-d) - 1;
}
int Unzigzag(uint32_t z) {
  return (z & 1) == 0 ? static_cast<int>(z >> 1) : -static_cast<int>((z + 1) >> 1);
}

size_t RiceBits(uint32_t z, int width) {
  const uint32_t quotient = z >> width;
  return quotient >= kEscapeQuotient ? kEscapeQuotient + kEscapeBits
                                     : quotient + 1 + static_cast<size_t>(width);
}

class BitWriter {
 public:
  explicit BitWriter(std::vector<uint8_t>* out) : out_(out) {}
  void Put(uint32_t bits, int count) {
    for (int i = 0; i < count; ++i, ++used_) {
      if (used_ % 8 == 0) out_->push_back(0);
      out_->back() = static_cast<uint8_t>(out_->back() | ((bits >> i) & 1) << (used_ % 8));
    }
  }

 private:
  std::vector<uint8_t>* out_;
  size_t used_ = 0;
};

void SerializeVector(const std::vector<int16_t>& values, std::vector<uint8_t>* out) {
  std::vector<int16_t> sorted = values;
  std::sort(sorted.begin(), sorted.end());
  const int16_t base = sorted.empty() ? int16_t{0} : sorted[sorted.size() / 2];
  const bool constant = sorted.empty() || sorted.front() == sorted.back();
  out->push_back(constant ? 0 : 1);
  out->push_back(static_cast<uint8_t>(base & 0xFF));
  out->push_back(static_cast<uint8_t>((base >> 8) & 0xFF));
  if (constant) return;
  int best_width = 0;
  size_t best_bits = SIZE_MAX;
  for (int width = 0; width <= kMaxWidth; ++width) {
    size_t bits = 0;
    for (const int16_t v : values) bits += RiceBits(Zigzag(v - base), width);
    if (bits < best_bits) best_bits = bits, best_width = width;
  }
  out->push_back(static_cast<uint8_t>(best_width));
  BitWriter writer(out);
  for (const int16_t v : values) {
    const uint32_t z = Zigzag(v - base);
    const uint32_t quotient = z >> best_width;
    if (quotient >= kEscapeQuotient) {
      writer.Put((1u << kEscapeQuotient) - 1, kEscapeQuotient);
      writer.Put(z, kEscapeBits);
    } else {
      writer.Put((1u << quotient) - 1, static_cast<int>(quotient) + 1);
      writer.Put(z, best_width);
    }
  }
}

// Reads vectors; every failure is R22.
class Parser {
 public:
  explicit Parser(ByteSpan bytes) : bytes_(bytes) {}

  Status Vector(uint64_t count, std::vector<int16_t>* out) {
    if (bytes_.size() - at_ < 3) return Bad("is too short");
    const uint8_t kind = bytes_[at_];
    const int base = LoadLittle<int16_t>(&bytes_[at_ + 1]);
    at_ += 3;
    if (kind > 1 || (kind == 1 && count == 0)) return Bad("has an unknown kind");
    if (base < kMinStepCode || base > kMaxStepCode) return Bad("has a base out of range");
    if (kind == 0) {
      out->assign(count, static_cast<int16_t>(base));
      return {};
    }
    if (at_ == bytes_.size() || bytes_[at_] > kMaxWidth) return Bad("has a bad Rice width");
    const int width = bytes_[at_++];
    // A code takes at least one bit: bounds the allocation by the bytes that are there.
    if (count > 8 * (bytes_.size() - at_)) return Bad("is too short");
    out->resize(count);
    bit_ = 8 * uint64_t{at_};
    for (int16_t& v : *out) {
      uint32_t z = 0;
      if (!Code(width, &z)) return Bad("is too short");
      const int value = base + Unzigzag(z);
      if (value < kMinStepCode || value > kMaxStepCode) return Bad("has a value out of range");
      v = static_cast<int16_t>(value);
    }
    at_ = static_cast<size_t>(DivideRoundingUp(bit_, 8));
    if (bit_ % 8 != 0 && bytes_[at_ - 1] >> bit_ % 8 != 0) {
      return Bad("has padding that is not zero");
    }
    return {};
  }

  [[nodiscard]] bool done() const { return at_ == bytes_.size(); }
  static Status Bad(const char* what) {
    return Status::Corrupt(22, std::string("side information ") + what);
  }

 private:
  // The bits from bit_ on, the first one lowest: at least 57 of them, zeros after the last byte.
  [[nodiscard]] uint64_t Peek() const {
    const auto byte = static_cast<size_t>(bit_ / 8);
    uint64_t bits = 0;
    if (bytes_.size() - byte >= sizeof(bits)) {
      bits = LoadLittle<uint64_t>(&bytes_[byte]);
    } else {
      for (size_t i = byte; i < bytes_.size(); ++i) bits |= uint64_t{bytes_[i]} << 8 * (i - byte);
    }
    return bits >> bit_ % 8;
  }

  bool Code(int width, uint32_t* z) {
    const uint64_t bits = Peek();
    const auto quotient = std::min(static_cast<uint32_t>(std::countr_one(bits)), kEscapeQuotient);
    const bool escape = quotient == kEscapeQuotient;
    const uint32_t unary = escape ? quotient : quotient + 1;
    const int rest = escape ? kEscapeBits : width;
    const uint32_t low = static_cast<uint32_t>(bits >> unary) & ((1u << rest) - 1);
    *z = escape ? low : quotient << width | low;
    bit_ += unary + static_cast<uint32_t>(rest);
    return bit_ <= 8 * uint64_t{bytes_.size()};
  }

  ByteSpan bytes_;
  size_t at_ = 0;
  uint64_t bit_ = 0;  // of bytes_, inside a vector
};

Status CheckExponents(const std::vector<int16_t>& rows, const std::vector<int16_t>& columns,
                      float scale) {
  if (rows.empty() || columns.empty()) return {};
  const auto [row_low, row_high] = std::minmax_element(rows.begin(), rows.end());
  const auto [col_low, col_high] = std::minmax_element(columns.begin(), columns.end());
  const int e = std::ilogb(scale);
  if (e + (*row_low >> 3) + (*col_low >> 3) < -kExponentLimit ||
      e + (*row_high >> 3) + (*col_high >> 3) > kExponentLimit) {
    return Parser::Bad("has steps whose product leaves 2^±100");
  }
  return {};
}

}  // namespace

std::vector<uint8_t> SerializeSideInfo(const SideInfo& side) {
  std::vector<uint8_t> out;
  for (const auto* v : {&side.row_step, &side.column_step, &side.row_table, &side.column_table}) {
    SerializeVector(*v, &out);
  }
  if (!side.row_gain.empty()) SerializeVector(side.row_gain, &out);
  return out;
}

Result<SideInfo> ParseSideInfo(ByteSpan bytes, uint64_t rows, uint64_t columns, float scale,
                               bool row_gains) {
  SideInfo side;
  Parser parser(bytes);
  NWC_RETURN_IF_ERROR(parser.Vector(rows, &side.row_step));
  NWC_RETURN_IF_ERROR(parser.Vector(columns, &side.column_step));
  NWC_RETURN_IF_ERROR(parser.Vector(rows, &side.row_table));
  NWC_RETURN_IF_ERROR(parser.Vector(columns, &side.column_table));
  if (row_gains) NWC_RETURN_IF_ERROR(parser.Vector(rows, &side.row_gain));
  if (!parser.done()) return Parser::Bad("has bytes left over");
  NWC_RETURN_IF_ERROR(CheckExponents(side.row_step, side.column_step, scale));
  return side;
}

std::vector<float> RowSteps(const SideInfo& side, uint64_t begin, uint64_t end) {
  std::vector<float> steps;
  steps.reserve(end - begin);
  for (uint64_t j = begin; j < end; ++j) {
    steps.push_back(RowStep(side.row_step[j], side.row_gain.empty() ? 0 : side.row_gain[j]));
  }
  return steps;
}

std::vector<uint8_t> SerializeNeuralSideInfo(const NeuralSideInfo& side) {
  std::vector<uint8_t> out;
  SerializeVector(side.column_scale, &out);
  SerializeVector({side.column_quality.begin(), side.column_quality.end()}, &out);
  return out;
}

Result<NeuralSideInfo> ParseNeuralSideInfo(ByteSpan bytes, uint64_t columns, int qualities,
                                           float scale) {
  NeuralSideInfo side;
  std::vector<int16_t> quality;
  Parser parser(bytes);
  NWC_RETURN_IF_ERROR(parser.Vector(columns, &side.column_scale));
  NWC_RETURN_IF_ERROR(parser.Vector(columns, &quality));
  if (!parser.done()) return Parser::Bad("has bytes left over");
  side.column_quality.reserve(quality.size());
  for (const int16_t q : quality) {
    if (q < 0 || q >= qualities) return Parser::Bad("has a quality that the codec lacks");
    side.column_quality.push_back(static_cast<uint8_t>(q));
  }
  NWC_RETURN_IF_ERROR(CheckExponents({0}, side.column_scale, scale));
  return side;
}

}  // namespace nwc
