// A stored codec (spec/codec.md section 10), everything in 16-bit words:
//   (lowest, count) of each table  frequencies of all tables  parameters in the order of
//   VisitParameters
#include "format/neural_codec.h"

#include <bit>
#include <cmath>
#include <numeric>

#include "format/dtype.h"
#include "format/freq_table.h"

namespace nwc {
namespace {

constexpr uint64_t kWordBytes = 2;
constexpr uint64_t kTableHeaderBytes = 2 * kWordBytes;

bool IsTable(const std::vector<uint16_t>& frequencies) {
  if (frequencies.size() < kMinNeuralSymbols || frequencies.size() > kMaxNeuralSymbols) {
    return false;
  }
  uint32_t sum = 0;
  for (const uint16_t f : frequencies) {
    if (f == 0) return false;
    sum += f;
  }
  return sum == kProbabilityScale;
}

// Calls visit(vector, its size) for every vector of parameters, in stored order.
template <typename Codec, typename Visit>
Status VisitParameters(Codec& codec, const Visit& visit) {
  const size_t width = codec.width;
  NWC_RETURN_IF_ERROR(visit(codec.in_weight, width * codec.latents));
  NWC_RETURN_IF_ERROR(visit(codec.in_bias, width));
  for (auto& b : codec.block) {
    NWC_RETURN_IF_ERROR(visit(b.weight, width * width));
    NWC_RETURN_IF_ERROR(visit(b.bias, width));
    NWC_RETURN_IF_ERROR(visit(b.gain, width));
    NWC_RETURN_IF_ERROR(visit(b.shift, width));
    NWC_RETURN_IF_ERROR(visit(b.embedding, width * codec.qualities));
  }
  NWC_RETURN_IF_ERROR(visit(codec.out_weight, width * codec.chunk));
  return visit(codec.out_bias, size_t{codec.chunk});
}

class WordAppender {
 public:
  explicit WordAppender(std::vector<uint8_t>* out) : out_(out) {}
  void operator()(uint16_t word) {
    out_->push_back(static_cast<uint8_t>(word & 0xFF));
    out_->push_back(static_cast<uint8_t>(word >> 8));
  }

 private:
  std::vector<uint8_t>* out_;
};

Status Unfit(const NeuralCodec& codec, const char* what) {
  return Status(ErrorCode::kUsage, "neural codec '" + codec.name + "' " + what);
}

Status Malformed(const char* what) { return Status::Corrupt(35, std::string("the codec ") + what); }

Status AppendTables(const NeuralCodec& codec, WordAppender* append) {
  for (const NeuralTable& t : codec.tables) {
    if (!IsTable(t.frequencies)) return Unfit(codec, "has a malformed entropy table");
    (*append)(static_cast<uint16_t>(t.lowest));
    (*append)(static_cast<uint16_t>(t.frequencies.size()));
  }
  for (const NeuralTable& t : codec.tables) {
    for (const uint16_t f : t.frequencies) (*append)(f);
  }
  return {};
}

// Reads the tables; *at moves from 0 to their end.
Status ParseTables(ByteSpan bytes, NeuralCodec* codec, size_t* at) {
  const size_t headers = kTableHeaderBytes * codec->table_count();
  if (bytes.size() < headers) return Malformed("is shorter than its table headers");
  uint64_t symbols = 0;
  for (size_t i = 0; i < codec->table_count(); ++i) {
    const auto count = LoadLittle<uint16_t>(&bytes[kTableHeaderBytes * i + kWordBytes]);
    if (count < kMinNeuralSymbols || count > kMaxNeuralSymbols) {
      return Malformed("has a table with too few or too many symbols");
    }
    symbols += count;
  }
  if (bytes.size() != headers + kWordBytes * (symbols + codec->parameter_count())) {
    return Malformed("has parts that do not add up to its size");
  }
  codec->tables.resize(codec->table_count());
  *at = headers;
  for (size_t i = 0; i < codec->tables.size(); ++i) {
    NeuralTable& t = codec->tables[i];
    t.lowest = LoadLittle<int16_t>(&bytes[kTableHeaderBytes * i]);
    t.frequencies.resize(LoadLittle<uint16_t>(&bytes[kTableHeaderBytes * i + kWordBytes]));
    for (uint16_t& f : t.frequencies) {
      f = LoadLittle<uint16_t>(&bytes[*at]);
      *at += kWordBytes;
    }
    if (!IsTable(t.frequencies))
      return Malformed("has frequencies that are 0 or do not sum to 4096");
  }
  return {};
}

}  // namespace

bool NeuralSettings::InRange() const {
  return chunk >= 1 && chunk <= kMaxNeuralChunk && latents >= 1 && latents <= kMaxNeuralLatents &&
         width >= 1 && width <= kMaxNeuralWidth && blocks <= kMaxNeuralBlocks && qualities >= 1 &&
         qualities <= kMaxNeuralQualities;
}

uint64_t NeuralSettings::parameter_count() const {
  const uint64_t w = width;
  return w * (latents + uint64_t{1}) + blocks * w * (w + 3 + qualities) + chunk * (w + 1);
}

uint64_t NeuralSettings::min_stored_bytes() const {
  return kTableHeaderBytes * table_count() +
         kWordBytes * (kMinNeuralSymbols * table_count() + parameter_count());
}

uint64_t NeuralSettings::max_stored_bytes() const {
  return kTableHeaderBytes * table_count() +
         kWordBytes * (kMaxNeuralSymbols * table_count() + parameter_count());
}

Result<std::vector<uint8_t>> SerializeNeuralCodec(const NeuralCodec& codec) {
  if (!codec.InRange()) return Unfit(codec, "has settings out of range");
  if (codec.block.size() != codec.blocks || codec.tables.size() != codec.table_count()) {
    return Unfit(codec, "lacks blocks or tables");
  }
  std::vector<uint8_t> out;
  WordAppender append(&out);
  NWC_RETURN_IF_ERROR(AppendTables(codec, &append));
  NWC_RETURN_IF_ERROR(
      VisitParameters(codec, [&](const std::vector<float>& values, size_t size) -> Status {
        if (values.size() != size) return Unfit(codec, "has a matrix or vector of a wrong size");
        for (const float v : values) {
          const uint16_t half = FloatToHalf(v);
          // Compared as bits, so that the sign of a zero counts and a NaN never passes.
          if (!std::isfinite(v) ||
              std::bit_cast<uint32_t>(HalfToFloat(half)) != std::bit_cast<uint32_t>(v)) {
            return Unfit(codec, "has a parameter that is not a finite binary16 number");
          }
          append(half);
        }
        return {};
      }));
  return out;
}

Result<NeuralCodec> ParseNeuralCodec(const NeuralSettings& settings, ByteSpan bytes) {
  assert(settings.InRange());
  NeuralCodec codec;
  static_cast<NeuralSettings&>(codec) = settings;
  size_t at = 0;
  NWC_RETURN_IF_ERROR(ParseTables(bytes, &codec, &at));
  codec.block.resize(codec.blocks);
  NWC_RETURN_IF_ERROR(
      VisitParameters(codec, [&](std::vector<float>& values, size_t size) -> Status {
        values.resize(size);
        for (float& v : values) {
          v = HalfToFloat(LoadLittle<uint16_t>(&bytes[at]));
          at += kWordBytes;
          if (!std::isfinite(v)) return Malformed("has a parameter that is not finite");
        }
        return {};
      }));
  return codec;
}

}  // namespace nwc
