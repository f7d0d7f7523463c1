// The C interface, through libnwc.so as a program sees it.
#include "loader/nwc.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/loader/container_builder.h"

namespace nwc {
namespace {

struct Free {
  void operator()(nwc_model* model) const { nwc_close(model); }
  void operator()(nwc_tensor* tensor) const { nwc_tensor_free(tensor); }
  void operator()(nwc_stream* stream) const { nwc_stream_free(stream); }
};
using ModelHandle = std::unique_ptr<nwc_model, Free>;
using TensorHandle = std::unique_ptr<nwc_tensor, Free>;
using StreamHandle = std::unique_ptr<nwc_stream, Free>;

constexpr nwc_slice kAll = {0, NWC_END, 0, NWC_END};

bool Says(const char* what) { return std::strstr(nwc_error_message(), what) != nullptr; }

class NwcC : public testing::Test {
 protected:
  void SetUp() override {
    AddMixedTensors(&builder_);
    file_ = std::make_unique<TemporaryFile>(builder_.Finish());
    model_ = Open();
  }

  ModelHandle Open(const nwc_options* options = nullptr) {
    nwc_model* model = nullptr;
    EXPECT_EQ(nwc_open(file_->path().c_str(), options, &model), NWC_OK) << nwc_error_message();
    return ModelHandle(model);
  }

  TensorHandle Load(size_t number, const nwc_slice* slice = nullptr) {
    nwc_tensor* tensor = nullptr;
    EXPECT_EQ(nwc_load(model_.get(), number, slice, &tensor), NWC_OK) << nwc_error_message();
    return TensorHandle(tensor);
  }

  StreamHandle Start(const std::vector<nwc_request>& requests, size_t queue_length = 0) {
    nwc_stream* stream = nullptr;
    EXPECT_EQ(
        nwc_stream_start(model_.get(), requests.data(), requests.size(), queue_length, &stream),
        NWC_OK);
    return StreamHandle(stream);
  }

  std::vector<nwc_request> Every() {
    std::vector<nwc_request> requests;
    for (size_t i = 0; i < builder_.count(); ++i) requests.push_back({i, kAll});
    return requests;
  }

  static std::vector<uint8_t> BytesOf(nwc_tensor* tensor) {
    const auto* data = static_cast<const uint8_t*>(nwc_tensor_data(tensor));
    return {data, data + nwc_tensor_bytes(tensor)};
  }

  void SpoilChunk(size_t tensor) {
    file_->FlipByte(builder_.index().tensors[tensor].chunks[0].offset + 3);
  }

  ContainerBuilder builder_;
  std::unique_ptr<TemporaryFile> file_;
  ModelHandle model_;
};

TEST_F(NwcC, VersionsAndNames) {
  EXPECT_EQ(nwc_abi_version(), static_cast<uint32_t>(NWC_ABI_VERSION));
  EXPECT_STREQ(nwc_version(), NWC_VERSION);
  EXPECT_STREQ(nwc_code_name(NWC_CORRUPT), "corrupt");
  EXPECT_STREQ(nwc_code_name(NWC_TIMEOUT), "timeout");
  EXPECT_STREQ(nwc_code_name(99), "unknown");
  EXPECT_STREQ(nwc_dtype_name(NWC_BF16), "BF16");
  EXPECT_EQ(nwc_dtype_size(NWC_F64), 8u);
  EXPECT_EQ(nwc_dtype_size(-1), 0u);
}

TEST_F(NwcC, DescribesEveryTensor) {
  ASSERT_EQ(nwc_tensor_count(model_.get()), builder_.count());
  for (size_t i = 0; i < builder_.count(); ++i) {
    const TensorInfo& expected = builder_.index().tensors[i];
    nwc_tensor_info info = {};
    info.struct_size = sizeof(info);
    ASSERT_EQ(nwc_describe(model_.get(), i, &info), NWC_OK);
    EXPECT_EQ(info.name, expected.name);
    EXPECT_STREQ(info.profile, ProfileName(expected.profile()));
    EXPECT_EQ(std::vector<uint64_t>(info.shape, info.shape + info.dimensions), expected.shape);
    EXPECT_EQ(info.decoded_bytes, builder_.expected(i).size());
    EXPECT_EQ(info.stored_bytes, expected.payload_bytes());
    size_t number = 0;
    ASSERT_EQ(nwc_find(model_.get(), info.name, &number), NWC_OK);
    EXPECT_EQ(number, i);
  }
}

TEST_F(NwcC, LoadsEveryTensor) {
  for (size_t i = 0; i < builder_.count(); ++i) {
    const TensorHandle tensor = Load(i);
    EXPECT_EQ(BytesOf(tensor.get()), builder_.expected(i));
    EXPECT_EQ(nwc_tensor_number(tensor.get()), i);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(nwc_tensor_data(tensor.get())) % 64, 0u);
  }
}

TEST_F(NwcC, LoadsIntoMemoryOfTheCaller) {
  std::vector<uint8_t> memory(builder_.expected(1).size());
  ASSERT_EQ(nwc_load_into(model_.get(), 1, nullptr, memory.data(), memory.size()), NWC_OK);
  EXPECT_EQ(memory, builder_.expected(1));
  EXPECT_EQ(nwc_load_into(model_.get(), 1, nullptr, memory.data(), memory.size() - 1), NWC_USAGE);
  EXPECT_TRUE(Says("expected")) << nwc_error_message();
}

TEST_F(NwcC, ASliceIsThatPartOfTheTensor) {
  const TensorInfo& info = builder_.index().tensors[1];
  const nwc_slice slice = {3, 9, 1, info.columns - 1};
  const TensorHandle part = Load(1, &slice);
  EXPECT_EQ(nwc_tensor_slice(part.get()).column_end, info.columns - 1);
  const size_t size = DTypeSize(info.dtype);
  std::vector<uint8_t> expected;
  for (uint64_t row = 3; row < 9; ++row) {
    const uint8_t* from = builder_.expected(1).data() + (row * info.columns + 1) * size;
    expected.insert(expected.end(), from, from + (info.columns - 2) * size);
  }
  EXPECT_EQ(BytesOf(part.get()), expected);
  const nwc_slice outside = {0, info.rows + 1, 0, NWC_END};
  nwc_tensor* none = nullptr;
  EXPECT_EQ(nwc_load(model_.get(), 1, &outside, &none), NWC_USAGE);
  EXPECT_EQ(none, nullptr);
}

TEST_F(NwcC, HandlesOutliveTheModel) {
  const TensorHandle tensor = Load(1);
  const StreamHandle stream = Start(Every());
  model_.reset();
  nwc_tensor_info info = {};
  info.struct_size = sizeof(info);
  ASSERT_EQ(nwc_tensor_describe(tensor.get(), &info), NWC_OK);
  EXPECT_EQ(info.name, builder_.index().tensors[1].name);
  EXPECT_EQ(info.stored_bytes, builder_.index().tensors[1].payload_bytes());
  EXPECT_EQ(BytesOf(tensor.get()), builder_.expected(1));
  nwc_tensor* next = nullptr;
  ASSERT_EQ(nwc_stream_next(stream.get(), -1, &next), NWC_OK);
  EXPECT_EQ(BytesOf(TensorHandle(next).get()), builder_.expected(0));
}

TEST_F(NwcC, FilesAndSources) {
  ASSERT_EQ(nwc_file_count(model_.get()), 1u);
  EXPECT_STREQ(nwc_file_name(model_.get(), 0), "config.json");
  EXPECT_EQ(nwc_file_name(model_.get(), 1), nullptr);
  std::string content(nwc_file_size(model_.get(), 0), ' ');
  ASSERT_EQ(nwc_file_read(model_.get(), 0, content.data(), content.size()), NWC_OK);
  EXPECT_EQ(content, "{\"model_type\": \"test\"}");
  EXPECT_EQ(nwc_file_read(model_.get(), 7, content.data(), content.size()), NWC_NOT_FOUND);
  EXPECT_EQ(nwc_source_metadata(model_.get(), nwc_source_count(model_.get())), nullptr);
}

TEST_F(NwcC, ErrorsHaveCodeMessageAndRule) {
  nwc_model* model = nullptr;
  EXPECT_EQ(nwc_open("/nowhere/m.nwc", nullptr, &model), NWC_NOT_FOUND);
  EXPECT_TRUE(Says("/nowhere/m.nwc"));
  EXPECT_EQ(nwc_open(nullptr, nullptr, &model), NWC_USAGE);
  EXPECT_STREQ(nwc_error_message(), "nwc_open: path is NULL");
  size_t number = 0;
  EXPECT_EQ(nwc_find(model_.get(), "nothing", &number), NWC_NOT_FOUND);
  EXPECT_EQ(nwc_describe(model_.get(), 999, nullptr), NWC_USAGE);
  SpoilChunk(1);
  nwc_tensor* tensor = nullptr;
  EXPECT_EQ(nwc_load(model_.get(), 1, nullptr, &tensor), NWC_CORRUPT);
  EXPECT_EQ(nwc_error_rule(), 20);
  EXPECT_TRUE(Says(("tensor '" + builder_.index().tensors[1].name + "' chunk 0").c_str()));
}

TEST_F(NwcC, EachThreadHasItsOwnError) {
  size_t number = 0;
  ASSERT_EQ(nwc_find(model_.get(), "nothing", &number), NWC_NOT_FOUND);
  const std::string before = nwc_error_message();
  std::thread([] { EXPECT_STREQ(nwc_error_message(), ""); }).join();
  EXPECT_EQ(nwc_error_message(), before);
}

TEST_F(NwcC, OptionsOfOtherVersions) {
  struct Longer {
    nwc_options options = NWC_OPTIONS_INIT;
    uint64_t unknown = 0;
  } longer;
  longer.options.struct_size = sizeof(longer);
  longer.options.threads = 1;
  EXPECT_NE(Open(&longer.options), nullptr);
  longer.unknown = 1;
  nwc_model* model = nullptr;
  EXPECT_EQ(nwc_open(file_->path().c_str(), &longer.options, &model), NWC_UNSUPPORTED);
  longer.options.struct_size = 8;
  EXPECT_EQ(nwc_open(file_->path().c_str(), &longer.options, &model), NWC_USAGE);
  nwc_options first = NWC_OPTIONS_INIT;
  first.struct_size = offsetof(nwc_options, connect_timeout_ms);
  first.connect_timeout_ms = -1;  // past the end of the first version's
  EXPECT_NE(Open(&first), nullptr);
  first.struct_size = sizeof(first);
  EXPECT_EQ(nwc_open(file_->path().c_str(), &first, &model), NWC_USAGE);
  nwc_options odd = NWC_OPTIONS_INIT;
  odd.io = "fast";
  EXPECT_EQ(nwc_open(file_->path().c_str(), &odd, &model), NWC_USAGE);
  EXPECT_TRUE(Says("pread")) << nwc_error_message();
  nwc_tensor_info old = {};
  old.struct_size = 16;
  EXPECT_EQ(nwc_describe(model_.get(), 0, &old), NWC_USAGE);
}

TEST_F(NwcC, AStreamGivesTheRequestsInTheirOrder) {
  auto requests = Every();
  std::reverse(requests.begin(), requests.end());
  const StreamHandle stream = Start(requests);
  for (const nwc_request& request : requests) {
    nwc_tensor* tensor = nullptr;
    ASSERT_EQ(nwc_stream_next(stream.get(), -1, &tensor), NWC_OK) << nwc_error_message();
    const TensorHandle owned(tensor);
    EXPECT_EQ(nwc_tensor_number(tensor), request.number);
    EXPECT_EQ(BytesOf(tensor), builder_.expected(request.number));
  }
  nwc_tensor* none = nullptr;
  EXPECT_EQ(nwc_stream_next(stream.get(), -1, &none), NWC_FINISHED);
  EXPECT_EQ(nwc_stream_next(stream.get(), 0, &none), NWC_FINISHED);
  EXPECT_EQ(none, nullptr);
  nwc_statistics statistics = {};
  statistics.struct_size = sizeof(statistics);
  ASSERT_EQ(nwc_stream_statistics(stream.get(), &statistics), NWC_OK);
  EXPECT_GT(statistics.bytes_decoded, 0u);
}

TEST_F(NwcC, AFullQueueHoldsTheLoadBack) {
  const StreamHandle stream = Start(Every(), 1);
  nwc_statistics statistics = {};
  statistics.struct_size = sizeof(statistics);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(nwc_stream_statistics(stream.get(), &statistics), NWC_USAGE);
}

TEST_F(NwcC, ATensorBeforeTheDamageComesFirst) {
  SpoilChunk(2);
  const StreamHandle stream = Start(Every());
  nwc_tensor* tensor = nullptr;
  nwc_code code = NWC_OK;
  size_t count = 0;
  while ((code = nwc_stream_next(stream.get(), -1, &tensor)) == NWC_OK) {
    EXPECT_EQ(BytesOf(TensorHandle(tensor).get()), builder_.expected(count++));
  }
  EXPECT_LE(count, 2u);
  EXPECT_EQ(code, NWC_CORRUPT);
  EXPECT_EQ(nwc_stream_next(stream.get(), 0, &tensor), NWC_CORRUPT);
}

TEST_F(NwcC, ACancelledStreamGivesNothingMore) {
  const StreamHandle stream = Start(Every(), 1);
  nwc_tensor* tensor = nullptr;
  ASSERT_EQ(nwc_stream_next(stream.get(), -1, &tensor), NWC_OK);
  nwc_tensor_free(tensor);
  std::thread([&] { nwc_stream_cancel(stream.get()); }).join();
  EXPECT_EQ(nwc_stream_next(stream.get(), -1, &tensor), NWC_CANCELLED);
  EXPECT_EQ(nwc_stream_next(stream.get(), 0, &tensor), NWC_CANCELLED);
}

TEST_F(NwcC, ImpossibleRequestsAreAnErrorOfTheStream) {
  const StreamHandle stream = Start({{0, kAll}, {0, kAll}});
  nwc_tensor* tensor = nullptr;
  EXPECT_EQ(nwc_stream_next(stream.get(), -1, &tensor), NWC_USAGE);
  nwc_stream* none = nullptr;
  EXPECT_EQ(nwc_stream_start(model_.get(), nullptr, 3, 0, &none), NWC_USAGE);
  EXPECT_EQ(none, nullptr);
}

TEST_F(NwcC, AnEmptyStreamIsFinished) {
  const nwc_request unused = {0, kAll};
  nwc_stream* stream = nullptr;
  ASSERT_EQ(nwc_stream_start(model_.get(), &unused, 0, 0, &stream), NWC_OK);
  const StreamHandle owned(stream);
  nwc_tensor* tensor = nullptr;
  EXPECT_EQ(nwc_stream_next(stream, -1, &tensor), NWC_FINISHED);
}

struct Visits {
  const ContainerBuilder* builder;
  size_t count = 0, stop_after = SIZE_MAX;
};

nwc_code Visit(void* context, const nwc_view* view) {
  auto* visits = static_cast<Visits*>(context);
  const size_t number = nwc_view_number(view);
  const TensorInfo& info = visits->builder->index().tensors[number];
  const std::vector<uint8_t>& expected = visits->builder->expected(number);
  size_t count = 0;
  const void* elements = nwc_view_elements(view, static_cast<nwc_dtype>(info.dtype), &count);
  EXPECT_EQ(count, info.weights());
  if (count > 0) {
    EXPECT_EQ(std::memcmp(elements, expected.data(), expected.size()), 0);
  }
  EXPECT_EQ(nwc_view_slice(view).row_end, info.rows);
  EXPECT_EQ(nwc_view_elements(view, NWC_BOOL, &count), nullptr);  // none is BOOL
  EXPECT_EQ(count, 0u);
  nwc_tensor_info described = {};
  described.struct_size = sizeof(described);
  EXPECT_EQ(nwc_view_describe(view, &described), NWC_OK);
  return ++visits->count >= visits->stop_after ? 1234 : NWC_OK;
}

TEST_F(NwcC, VisitorsBorrowEveryTensor) {
  Visits visits{&builder_};
  EXPECT_EQ(nwc_stream_visit(Start(Every()).get(), Visit, &visits), NWC_OK);
  EXPECT_EQ(visits.count, builder_.count());
}

TEST_F(NwcC, AVisitorEndsTheVisitWithItsCode) {
  Visits visits{&builder_, 0, 2};
  EXPECT_EQ(nwc_stream_visit(Start(Every()).get(), Visit, &visits), 1234);
  EXPECT_EQ(visits.count, 2u);
}

TEST_F(NwcC, NullMayBeFreed) {
  nwc_close(nullptr);
  nwc_tensor_free(nullptr);
  nwc_stream_free(nullptr);
}

TEST_F(NwcC, ManyThreadsLoadFromOneModel) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (size_t i = 0; i < builder_.count(); ++i) {
        EXPECT_EQ(BytesOf(Load(i).get()), builder_.expected(i));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace nwc
