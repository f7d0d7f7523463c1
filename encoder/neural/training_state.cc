#include "encoder/neural/training_state.h"

#include "format/checksum.h"

namespace nwc {
namespace {

constexpr uint64_t kStateMagic = 0x31305254'43574E89;  // "\x89NWCTR01"

template <typename T>
void Put(const T* values, size_t count, std::vector<uint8_t>* out) {
  if (count == 0) return;
  const size_t at = out->size();
  out->resize(at + count * sizeof(T));
  std::memcpy(out->data() + at, values, count * sizeof(T));
}

// Vectors are a count and the elements.
template <typename Container>
void PutAll(const Container& values, std::vector<uint8_t>* out) {
  const uint64_t count = values.size();
  Put(&count, 1, out);
  Put(values.data(), values.size(), out);
}

// Takes values from the front of a span; `ok` turns false when it is too short.
struct Taker {
  ByteSpan bytes;
  bool ok = true;

  template <typename T>
  void Take(T* values, size_t count) {
    if (!ok || bytes.size() / sizeof(T) < count) {
      ok = false;
      return;
    }
    std::memcpy(values, bytes.data(), count * sizeof(T));
    bytes = bytes.subspan(count * sizeof(T));
  }

  template <typename Container>
  void TakeAll(Container* values) {
    uint64_t count = 0;
    Take(&count, 1);
    if (bytes.size() / sizeof(typename Container::value_type) < count) ok = false;
    if (!ok) return;
    values->resize(count);
    if (count != 0) Take(values->data(), count);
  }
};

}  // namespace

std::vector<uint8_t> SerializeTrainingState(const TrainingState& state) {
  std::vector<uint8_t> out;
  Put(&kStateMagic, 1, &out);
  PutAll(state.identity, &out);
  Put(&state.step, 1, &out);
  PutAll(state.curve, &out);
  Put(state.sums.data(), state.sums.size(), &out);
  PutAll(state.values, &out);
  const uint64_t hash = Hash64(out);
  Put(&hash, 1, &out);
  return out;
}

Result<TrainingState> ParseTrainingState(ByteSpan bytes) {
  const Status damaged(ErrorCode::kCorrupt, "the saved training is damaged or of another version");
  uint64_t hash = 0, magic = 0;
  if (bytes.size() < sizeof(hash)) return damaged;
  const ByteSpan body = bytes.first(bytes.size() - sizeof(hash));
  std::memcpy(&hash, bytes.data() + body.size(), sizeof(hash));
  if (hash != Hash64(body)) return damaged;
  TrainingState state;
  Taker taker{body};
  taker.Take(&magic, 1);
  taker.TakeAll(&state.identity);
  taker.Take(&state.step, 1);
  taker.TakeAll(&state.curve);
  taker.Take(state.sums.data(), state.sums.size());
  taker.TakeAll(&state.values);
  if (!taker.ok || magic != kStateMagic || !taker.bytes.empty()) return damaged;
  return state;
}

}  // namespace nwc
