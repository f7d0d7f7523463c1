// A pickle is a program for a machine with a stack and a memo (Lib/pickletools.py of CPython
// describes every instruction). This machine has those that torch.save writes, protocols 2 to 5,
// and values that refer to each other by position only: nothing is followed more than one level.
#include "tools/pytorch_pickle.h"

#include <new>
#include <span>
#include <string_view>
#include <unordered_set>

#include "format/layout.h"
#include "tools/display.h"
#include "tools/pickle_ops.h"
#include "tools/pytorch_globals.h"
#include "tools/pytorch_view.h"
#include "tools/stored_tensor.h"

namespace nwc {
namespace {

constexpr size_t kMaxStack = 1 << 20;  // values
constexpr size_t kMaxMarks = 1000;
constexpr size_t kMaxObjects = 1 << 20;     // of a kind
constexpr size_t kMaxReferences = 1 << 24;  // in the memo, or in tuples
constexpr size_t kMaxKey = 64;              // bytes; torch.save counts storages

enum class Kind : uint8_t { kOther, kInt, kString, kTuple, kDict, kGlobal, kStorage, kTensor };

// Other: None, booleans, floats and lists, which no tensor depends on.
struct Value {
  Kind kind = Kind::kOther;
  uint32_t size = 0;  // string: bytes; tuple: items
  int64_t at = 0;     // integer: itself; string: offset in the pickle; others: position in a list
};

using Values = std::span<const Value>;
using Items = std::vector<std::pair<Value, Value>>;

Status Corrupt(const std::string& message) { return Status(ErrorCode::kCorrupt, message); }
Status Unsupported(const std::string& message) { return Status(ErrorCode::kUnsupported, message); }

class Machine {
 public:
  explicit Machine(ByteSpan pickle) : pickle_(pickle) {}

  // Until the instruction STOP.
  Status Run() {
    for (;;) {
      const size_t begin = at_;
      NWC_ASSIGN_OR_RETURN(const ByteSpan op, Take(1));
      if (op[0] == static_cast<uint8_t>(PickleOp::kStop)) return {};
      const Status status = Step(static_cast<PickleOp>(op[0]));
      if (!status.ok()) {
        return Status(status.code(),
                      status.message() + " (byte " + std::to_string(begin) + " of the pickle)");
      }
    }
  }

  Result<std::vector<PickledTensor>> Tensors();

 private:
  Status Step(PickleOp op);
  Status PushConstant(PickleOp op);
  Status PushString(size_t length_bytes);
  Status PushLong();
  Status PushGlobal(std::string_view module, std::string_view name);
  Status PushGlobalLines();
  Status PushStackGlobal();
  Status PushTuple(size_t count);
  Status SetItems(size_t count);
  Status Append(size_t count);
  Status Put(uint64_t number);
  Status Get(uint64_t number);
  Status PushStorage();
  Status Reduce();
  Status Build();
  Status RebuildTensor(const Global& function, Values arguments);
  Result<std::vector<uint64_t>> Numbers(const Value& tuple, const char* what) const;

  Result<ByteSpan> Take(size_t count) {
    if (count > pickle_.size() - at_) return Corrupt("the pickle is cut short");
    at_ += count;
    return pickle_.subspan(at_ - count, count);
  }
  template <typename T>
  Result<uint64_t> TakeNumber() {
    NWC_ASSIGN_OR_RETURN(const ByteSpan bytes, Take(sizeof(T)));
    return uint64_t{LoadLittle<T>(bytes.data())};
  }

  Status Push(Value value) {
    if (stack_.size() == kMaxStack) return Unsupported("the pickle's stack grows beyond its limit");
    stack_.push_back(value);
    return {};
  }
  Status PushInt(int64_t value) { return Push({Kind::kInt, 0, value}); }
  // A value that stands for the newest of `list`.
  template <typename T>
  Status PushNewest(Kind kind, const std::vector<T>& list) {
    if (list.size() > kMaxObjects) return Unsupported("the pickle holds too many objects");
    return Push({kind, 0, static_cast<int64_t>(list.size()) - 1});
  }
  // Values above the last mark.
  [[nodiscard]] size_t Above() const {
    return stack_.size() - (marks_.empty() ? 0 : marks_.back());
  }
  // The topmost `count` values, which stay in place until Drop.
  Result<Values> Top(size_t count) const {
    if (count > Above()) return Corrupt("the pickle takes more from its stack than there is");
    return Values(stack_).last(count);
  }
  void Drop(size_t count) { stack_.resize(stack_.size() - count); }
  // How many values lie above the last mark, which goes.
  Result<size_t> TakeMark() {
    if (marks_.empty()) return Corrupt("the pickle's stack has no mark");
    const size_t count = Above();
    marks_.pop_back();
    return count;
  }

  [[nodiscard]] std::string_view Text(const Value& v) const {
    return {reinterpret_cast<const char*>(pickle_.data()) + v.at, v.size};
  }
  [[nodiscard]] Values ItemsOf(const Value& tuple) const {
    return Values(tuple_items_).subspan(static_cast<size_t>(tuple.at), tuple.size);
  }

  ByteSpan pickle_;
  size_t at_ = 0;
  std::vector<Value> stack_, memo_;
  std::vector<size_t> marks_;  // sizes of the stack
  std::vector<Value> tuple_items_;
  std::vector<Items> dicts_;
  std::vector<Global> globals_;
  std::vector<PickledStorage> storages_;
  std::vector<PickledTensor> tensors_;  // without names
};

Status Machine::Step(PickleOp op) {
  switch (op) {
    case PickleOp::kProto:
      return Take(1).status();
    case PickleOp::kFrame:
      return Take(8).status();
    case PickleOp::kMark:
      if (marks_.size() == kMaxMarks) return Unsupported("the pickle is nested too deep");
      marks_.push_back(stack_.size());
      return {};
    case PickleOp::kPop: {
      NWC_RETURN_IF_ERROR(Top(1).status());
      Drop(1);
      return {};
    }
    case PickleOp::kGlobal:
      return PushGlobalLines();
    case PickleOp::kStackGlobal:
      return PushStackGlobal();
    case PickleOp::kTuple: {
      NWC_ASSIGN_OR_RETURN(const size_t count, TakeMark());
      return PushTuple(count);
    }
    case PickleOp::kEmptyTuple:
      return PushTuple(0);
    case PickleOp::kTuple1:
      return PushTuple(1);
    case PickleOp::kTuple2:
      return PushTuple(2);
    case PickleOp::kTuple3:
      return PushTuple(3);
    case PickleOp::kEmptyDict:
      dicts_.emplace_back();
      return PushNewest(Kind::kDict, dicts_);
    case PickleOp::kSetItem:
      return SetItems(2);
    case PickleOp::kSetItems: {
      NWC_ASSIGN_OR_RETURN(const size_t count, TakeMark());
      return SetItems(count);
    }
    case PickleOp::kAppend:
      return Append(1);
    case PickleOp::kAppends: {
      NWC_ASSIGN_OR_RETURN(const size_t count, TakeMark());
      return Append(count);
    }
    case PickleOp::kBinPersId:
      return PushStorage();
    case PickleOp::kReduce:
      return Reduce();
    case PickleOp::kBuild:
      return Build();
    default:
      return PushConstant(op);
  }
}

// Values that stand in the pickle themselves or in the memo.
Status Machine::PushConstant(PickleOp op) {
  const auto number = [&](const Result<uint64_t>& n) {
    return n.ok() ? PushInt(static_cast<int64_t>(*n)) : n.status();
  };
  const auto put = [&](const Result<uint64_t>& n) { return n.ok() ? Put(*n) : n.status(); };
  const auto get = [&](const Result<uint64_t>& n) { return n.ok() ? Get(*n) : n.status(); };
  switch (op) {
    case PickleOp::kNone:
    case PickleOp::kNewTrue:
    case PickleOp::kNewFalse:
    case PickleOp::kEmptyList:
      return Push({});
    case PickleOp::kBinFloat:
      NWC_RETURN_IF_ERROR(Take(8).status());
      return Push({});
    case PickleOp::kBinInt: {
      NWC_ASSIGN_OR_RETURN(const uint64_t bits, TakeNumber<uint32_t>());
      return PushInt(static_cast<int32_t>(bits));
    }
    case PickleOp::kBinInt1:
      return number(TakeNumber<uint8_t>());
    case PickleOp::kBinInt2:
      return number(TakeNumber<uint16_t>());
    case PickleOp::kLong1:
      return PushLong();
    case PickleOp::kShortBinUnicode:
      return PushString(1);
    case PickleOp::kBinUnicode:
      return PushString(4);
    case PickleOp::kBinUnicode8:
      return PushString(8);
    case PickleOp::kBinPut:
      return put(TakeNumber<uint8_t>());
    case PickleOp::kLongBinPut:
      return put(TakeNumber<uint32_t>());
    case PickleOp::kMemoize:
      return Put(memo_.size());
    case PickleOp::kBinGet:
      return get(TakeNumber<uint8_t>());
    case PickleOp::kLongBinGet:
      return get(TakeNumber<uint32_t>());
    default:
      return Unsupported("instruction " + std::to_string(static_cast<int>(op)) +
                         " of the pickle is none that torch.save writes for a dict of tensors");
  }
}

Status Machine::PushString(size_t length_bytes) {
  NWC_ASSIGN_OR_RETURN(const ByteSpan prefix, Take(length_bytes));
  uint64_t length = 0;
  std::memcpy(&length, prefix.data(), length_bytes);
  const Value text{Kind::kString, static_cast<uint32_t>(length), static_cast<int64_t>(at_)};
  NWC_RETURN_IF_ERROR(Take(length).status());  // the whole pickle has fewer than 2^32 bytes
  return Push(text);
}

// A signed number of up to 8 bytes.
Status Machine::PushLong() {
  NWC_ASSIGN_OR_RETURN(const uint64_t count, TakeNumber<uint8_t>());
  NWC_ASSIGN_OR_RETURN(const ByteSpan bytes, Take(count));
  if (count > 8) return Unsupported("a number of the pickle does not fit in 64 bits");
  uint64_t value = count != 0 && (bytes.back() & 0x80) != 0 ? UINT64_MAX : 0;
  if (count != 0) std::memcpy(&value, bytes.data(), count);
  return PushInt(static_cast<int64_t>(value));
}

Status Machine::PushGlobal(std::string_view module, std::string_view name) {
  NWC_ASSIGN_OR_RETURN(const Global global, FindGlobal(module, name));
  globals_.push_back(global);
  return PushNewest(Kind::kGlobal, globals_);
}

// Module and name on a line each.
Status Machine::PushGlobalLines() {
  std::string_view lines[2];
  for (std::string_view& line : lines) {
    const auto rest =
        std::string_view(reinterpret_cast<const char*>(pickle_.data()), pickle_.size()).substr(at_);
    line = rest.substr(0, rest.find('\n'));
    NWC_RETURN_IF_ERROR(Take(line.size() + 1).status());
  }
  return PushGlobal(lines[0], lines[1]);
}

Status Machine::PushStackGlobal() {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(2));
  if (top[0].kind != Kind::kString || top[1].kind != Kind::kString) {
    return Corrupt("a function of the pickle has no name");
  }
  const std::string_view module = Text(top[0]), name = Text(top[1]);
  Drop(2);
  return PushGlobal(module, name);
}

Status Machine::PushTuple(size_t count) {
  NWC_ASSIGN_OR_RETURN(const Values items, Top(count));
  if (tuple_items_.size() > kMaxReferences) return Unsupported("the pickle holds too many tuples");
  const Value tuple{Kind::kTuple, static_cast<uint32_t>(count),
                    static_cast<int64_t>(tuple_items_.size())};
  tuple_items_.insert(tuple_items_.end(), items.begin(), items.end());
  Drop(count);
  return Push(tuple);
}

Status Machine::SetItems(size_t count) {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(count + 1));
  if (top[0].kind != Kind::kDict || count % 2 != 0) {
    return Corrupt("the pickle sets items of what is no dict");
  }
  Items& items = dicts_[static_cast<size_t>(top[0].at)];
  for (size_t i = 1; i < top.size(); i += 2) items.emplace_back(top[i], top[i + 1]);
  Drop(count);
  return {};
}

// To a list, whose items nobody wants.
Status Machine::Append(size_t count) {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(count + 1));
  if (top[0].kind != Kind::kOther) return Corrupt("the pickle appends to what is no list");
  Drop(count);
  return {};
}

Status Machine::Put(uint64_t number) {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(1));
  if (number > memo_.size() || memo_.size() > kMaxReferences) {
    return Corrupt("the pickle's memo does not grow one by one, or grows beyond its limit");
  }
  if (number == memo_.size()) memo_.emplace_back();
  memo_[number] = top[0];
  return {};
}

Status Machine::Get(uint64_t number) {
  if (number >= memo_.size()) return Corrupt("the pickle asks for a memo that is not there");
  return Push(memo_[number]);
}

// ('storage', torch.FloatStorage, key, device, elements)
Status Machine::PushStorage() {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(1));
  const Values id = top[0].kind == Kind::kTuple ? ItemsOf(top[0]) : Values();
  if (id.size() != 5 || id[0].kind != Kind::kString || Text(id[0]) != "storage" ||
      id[1].kind != Kind::kGlobal || id[2].kind != Kind::kString || id[4].kind != Kind::kInt) {
    return Corrupt("a reference to data of the pickle is none to a storage");
  }
  const Global& type = globals_[static_cast<size_t>(id[1].at)];
  if (type.kind != GlobalKind::kStorageType || id[4].at < 0 || id[2].size > kMaxKey) {
    return Corrupt("a storage of the pickle has no type, no size or no short name");
  }
  const auto bytes =
      CheckedMultiply(type.dtype ? DTypeSize(*type.dtype) : 1, static_cast<uint64_t>(id[4].at));
  if (!bytes || *bytes > kMaxTensorBytes) return Corrupt("a storage of the pickle is too large");
  storages_.push_back({std::string(Text(id[2])), type.dtype, *bytes});
  Drop(1);
  return PushNewest(Kind::kStorage, storages_);
}

Status Machine::Reduce() {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(2));
  if (top[0].kind != Kind::kGlobal || top[1].kind != Kind::kTuple) {
    return Corrupt("the pickle calls what is no function");
  }
  const Global function = globals_[static_cast<size_t>(top[0].at)];
  const Values arguments = ItemsOf(top[1]);
  Drop(2);
  switch (function.kind) {
    case GlobalKind::kOrderedDict:
      if (!arguments.empty()) return Unsupported("an OrderedDict of the pickle has arguments");
      dicts_.emplace_back();
      return PushNewest(Kind::kDict, dicts_);
    case GlobalKind::kRebuildTensor:
    case GlobalKind::kRebuildTensor3:
      return RebuildTensor(function, arguments);
    case GlobalKind::kRebuildParameter:
      if (arguments.empty() || arguments[0].kind != Kind::kTensor) {
        return Corrupt("a parameter of the pickle has no tensor");
      }
      return Push(arguments[0]);
    default:
      return Corrupt("the pickle calls a type");
  }
}

// The state of an OrderedDict: the versions that torch.nn.Module notes, which nobody wants.
Status Machine::Build() {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(2));
  if (top[0].kind != Kind::kDict) return Corrupt("the pickle gives a state to what is no dict");
  Drop(1);
  return {};
}

// (storage, offset, size, stride, requires_grad, hooks[, dtype][, metadata])
Status Machine::RebuildTensor(const Global& function, Values arguments) {
  const size_t least = function.kind == GlobalKind::kRebuildTensor3 ? 7 : 6;
  if (arguments.size() < least || arguments.size() > least + 1 ||
      arguments[0].kind != Kind::kStorage || arguments[1].kind != Kind::kInt ||
      arguments[1].at < 0) {
    return Corrupt("a tensor of the pickle is not made as torch.save makes them");
  }
  if (arguments.size() > least) {
    const Value& metadata = arguments[least];
    if (metadata.kind != Kind::kDict || !dicts_[static_cast<size_t>(metadata.at)].empty()) {
      return Unsupported(
          "a tensor is the conjugate or the negative of its storage; save it after "
          ".resolve_conj().resolve_neg()");
    }
  }
  PickledStorage storage = storages_[static_cast<size_t>(arguments[0].at)];
  if (least == 7) {
    const Value& type = arguments[6];
    const bool named = type.kind == Kind::kGlobal &&
                       globals_[static_cast<size_t>(type.at)].kind == GlobalKind::kDType;
    if (!named) return Corrupt("a tensor of the pickle has no type");
    storage.dtype = globals_[static_cast<size_t>(type.at)].dtype;
  }
  NWC_ASSIGN_OR_RETURN(std::vector<uint64_t> shape, Numbers(arguments[2], "size"));
  NWC_ASSIGN_OR_RETURN(std::vector<uint64_t> strides, Numbers(arguments[3], "stride"));
  NWC_ASSIGN_OR_RETURN(PickledTensor tensor,
                       ViewStorage(storage, static_cast<uint64_t>(arguments[1].at),
                                   std::move(shape), std::move(strides)));
  tensors_.push_back(std::move(tensor));
  return PushNewest(Kind::kTensor, tensors_);
}

Result<std::vector<uint64_t>> Machine::Numbers(const Value& tuple, const char* what) const {
  const Values items = tuple.kind == Kind::kTuple ? ItemsOf(tuple) : Values();
  if (tuple.kind != Kind::kTuple) {
    return Corrupt(std::string("the ") + what + " of a tensor is no tuple");
  }
  if (items.size() > kMaxDimensions) {
    return Unsupported("a tensor has " + std::to_string(items.size()) +
                       " dimensions, expected at most " + std::to_string(kMaxDimensions));
  }
  std::vector<uint64_t> numbers;
  for (const Value& item : items) {
    if (item.kind != Kind::kInt || item.at < 0) {
      return Corrupt(std::string("the ") + what + " of a tensor holds what is no size");
    }
    numbers.push_back(static_cast<uint64_t>(item.at));
  }
  return numbers;
}

Result<std::vector<PickledTensor>> Machine::Tensors() {
  NWC_ASSIGN_OR_RETURN(const Values top, Top(1));
  constexpr const char* kExpected =
      ", expected a dict of tensors by name; load the file in Python and save such a dict";
  if (top[0].kind != Kind::kDict) return Unsupported(std::string("holds no dict") + kExpected);
  std::vector<PickledTensor> tensors;
  std::unordered_set<std::string_view> names;
  for (const auto& [key, value] : dicts_[static_cast<size_t>(top[0].at)]) {
    if (key.kind != Kind::kString) return Unsupported(std::string("a key is no name") + kExpected);
    const std::string name(Text(key));
    if (value.kind != Kind::kTensor) {
      return Unsupported("the value of " + Quote(name) + " is no tensor" + kExpected);
    }
    NWC_RETURN_IF_ERROR(CheckTensorName(name));
    if (!names.insert(Text(key)).second) {
      return Corrupt("tensor " + Quote(name) + " is there twice, expected it once");
    }
    tensors.push_back(tensors_[static_cast<size_t>(value.at)]);
    tensors.back().name = name;
  }
  return tensors;
}

}  // namespace

Result<std::vector<PickledTensor>> ParseStateDict(ByteSpan pickle) {
  if (pickle.size() > kMaxPickle) {
    return Unsupported("the pickle has " + FormatBytes(pickle.size()) +
                       ", expected at most 64 MiB");
  }
  try {
    Machine machine(pickle);
    NWC_RETURN_IF_ERROR(machine.Run());
    return machine.Tensors();
  } catch (const std::bad_alloc&) {
    return Status(ErrorCode::kOutOfMemory, "no memory to read the pickle");
  }
}

}  // namespace nwc
