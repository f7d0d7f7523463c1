// loader/nwc.h: versions, models and single tensors.
#include "loader/nwc_c_handles.h"

namespace nwc {
namespace {

constexpr size_t kFirstOptionsSize = offsetof(nwc_options, connect_timeout_ms);  // of 0.1.0

// Options of a program built with an older header are shorter, those of a newer one longer.
Result<nwc_options> KnownOptions(const nwc_options* options) {
  nwc_options known = NWC_OPTIONS_INIT;
  if (options == nullptr) return known;
  const size_t size = options->struct_size;
  if (size < kFirstOptionsSize) return WrongStructSize("nwc_options", size, kFirstOptionsSize);
  const auto* bytes = reinterpret_cast<const uint8_t*>(options);
  const size_t known_size = std::min(size, sizeof(known));
  if (std::any_of(bytes + known_size, bytes + size, [](uint8_t b) { return b != 0; }) ||
      options->reserved[0] != 0 || options->reserved[1] != 0) {
    return Status(ErrorCode::kUnsupported,
                  "nwc_options: sets an option that this library does not know; use library "
                  "and header of one version, or leave it 0");
  }
  std::memcpy(&known, options, known_size);
  return known;
}

// What says how a server is asked.
Status RemoteFrom(const nwc_options& given, RemoteOptions* remote) {
  if (given.cache_folder != nullptr) remote->cache_folder = given.cache_folder;
  if (given.cache_bytes > 0) remote->cache_bytes = given.cache_bytes;
  if (given.aws_sigv4 != nullptr) remote->aws_sigv4 = given.aws_sigv4;
  for (size_t i = 0; i < given.header_count; ++i) {
    if (given.headers == nullptr || given.headers[i] == nullptr) {
      return NullArgument("nwc_options", "a header");
    }
    remote->headers.emplace_back(given.headers[i]);
  }
  if (given.connect_timeout_ms < 0 || given.stall_timeout_s < 0 || given.parallel_ranges < 0) {
    return Status(ErrorCode::kUsage,
                  "nwc_options: a timeout or parallel_ranges is negative, expected 0 or more");
  }
  if (given.connect_timeout_ms > 0) remote->connect_timeout_ms = given.connect_timeout_ms;
  if (given.stall_timeout_s > 0) remote->stall_timeout_s = given.stall_timeout_s;
  if (given.retries != 0) remote->retries = std::max(given.retries, 0);
  if (given.parallel_ranges > 0) {
    remote->parallel_ranges = static_cast<size_t>(given.parallel_ranges);
  }
  return {};
}

Result<LoadOptions> OptionsFrom(const nwc_options& given) {
  LoadOptions options;
  if (given.io != nullptr) {
    const auto mode = ParseIoMode(given.io);
    if (!mode) {
      return Status(ErrorCode::kUsage,
                    "nwc_options: io is '" + std::string(given.io) + "', expected " + kIoModeNames);
    }
    options.io = *mode;
  }
  if (given.threads < 0) {
    return Status(ErrorCode::kUsage, "nwc_options: threads is " + std::to_string(given.threads) +
                                         ", expected 0 or more");
  }
  options.threads = given.threads;
  if (given.staging_bytes > 0) options.staging_bytes = given.staging_bytes;
  options.verify = given.skip_hashes == 0;
  options.verify_decoded = given.verify_decoded != 0;
  NWC_RETURN_IF_ERROR(RemoteFrom(given, &options.remote));
  return options;
}

Status CheckNumber(const ModelLoader& model, size_t number) {
  if (number < model.tensor_count()) return {};
  return Status(ErrorCode::kUsage, model.path() + ": tensor number " + std::to_string(number) +
                                       " of a model with " + std::to_string(model.tensor_count()) +
                                       " tensors");
}

// "FUNCTION: ARGUMENT is NULL" for the first that is.
struct Argument {
  const char* name;
  const void* pointer;
};
Status CheckArguments(const char* function, std::initializer_list<Argument> arguments) {
  for (const Argument& argument : arguments) {
    if (argument.pointer == nullptr) return NullArgument(function, argument.name);
  }
  return {};
}

Status CopyExactly(const char* function, ByteSpan bytes, void* memory, size_t size_bytes) {
  if (bytes.size() != size_bytes) {
    return Status(ErrorCode::kUsage, std::string(function) + ": size_bytes is " +
                                         std::to_string(size_bytes) + ", expected " +
                                         std::to_string(bytes.size()));
  }
  if (size_bytes > 0) std::memcpy(memory, bytes.data(), size_bytes);
  return {};
}

// Before anything is read.
Status CheckRoom(const TensorInfo& tensor, const TensorSlice& slice, size_t size_bytes) {
  NWC_ASSIGN_OR_RETURN(const TensorSlice resolved, ResolveSlice(tensor, slice));
  const uint64_t needed = resolved.weights() * DTypeSize(tensor.dtype);
  if (needed == size_bytes) return {};
  return Status(ErrorCode::kUsage, "tensor '" + tensor.name + "': size_bytes is " +
                                       std::to_string(size_bytes) + ", expected " +
                                       std::to_string(needed));
}

}  // namespace
}  // namespace nwc

using nwc::Guarded;
using nwc::Status;

uint32_t nwc_abi_version() { return NWC_ABI_VERSION; }
const char* nwc_version() { return NWC_VERSION; }

const char* nwc_code_name(nwc_code code) {
  if (code == NWC_TIMEOUT) return "timeout";
  if (code == NWC_FINISHED) return "finished";
  if (code < NWC_OK || code > NWC_FINISHED) return "unknown";
  return nwc::ErrorName(static_cast<nwc::ErrorCode>(code));
}

const char* nwc_dtype_name(nwc_dtype dtype) {
  if (dtype < 0 || dtype >= nwc::kDTypeCount) return "unknown";
  return nwc::DTypeName(static_cast<nwc::DType>(dtype));
}

size_t nwc_dtype_size(nwc_dtype dtype) {
  if (dtype < 0 || dtype >= nwc::kDTypeCount) return 0;
  return nwc::DTypeSize(static_cast<nwc::DType>(dtype));
}

nwc_code nwc_open(const char* path, const nwc_options* options, nwc_model** model) {
  return Guarded([&]() -> Status {
    NWC_RETURN_IF_ERROR(nwc::CheckArguments("nwc_open", {{"path", path}, {"model", model}}));
    NWC_ASSIGN_OR_RETURN(const nwc_options known, nwc::KnownOptions(options));
    NWC_ASSIGN_OR_RETURN(const nwc::LoadOptions load, nwc::OptionsFrom(known));
    NWC_ASSIGN_OR_RETURN(auto loader, nwc::ModelLoader::Open(path, load));
    const std::string io = loader->io_description();
    *model = new nwc_model{std::move(loader), io};
    return {};
  });
}

void nwc_close(nwc_model* model) { delete model; }
const char* nwc_model_path(const nwc_model* model) { return model->loader->path().c_str(); }
const char* nwc_model_io(const nwc_model* model) { return model->io.c_str(); }
size_t nwc_tensor_count(const nwc_model* model) { return model->loader->tensor_count(); }

nwc_code nwc_describe(const nwc_model* model, size_t number, nwc_tensor_info* info) {
  return Guarded([&]() -> Status {
    NWC_RETURN_IF_ERROR(nwc::CheckArguments("nwc_describe", {{"model", model}, {"info", info}}));
    NWC_RETURN_IF_ERROR(nwc::CheckNumber(*model->loader, number));
    const nwc::TensorInfo& tensor = model->loader->tensor(number);
    return nwc::Describe(tensor, tensor.payload_bytes(), info);
  });
}

nwc_code nwc_find(const nwc_model* model, const char* name, size_t* number) {
  return Guarded([&]() -> Status {
    NWC_RETURN_IF_ERROR(
        nwc::CheckArguments("nwc_find", {{"model", model}, {"name", name}, {"number", number}}));
    NWC_ASSIGN_OR_RETURN(*number, model->loader->Find(name));
    return {};
  });
}

size_t nwc_file_count(const nwc_model* model) { return model->loader->file_count(); }

const char* nwc_file_name(const nwc_model* model, size_t file) {
  return file < nwc_file_count(model) ? model->loader->file(file).name.c_str() : nullptr;
}

uint64_t nwc_file_size(const nwc_model* model, size_t file) {
  return file < nwc_file_count(model) ? model->loader->file(file).extent.size : 0;
}

nwc_code nwc_file_read(const nwc_model* model, size_t file, void* memory, size_t size_bytes) {
  return Guarded([&]() -> Status {
    NWC_RETURN_IF_ERROR(nwc::CheckArguments("nwc_file_read", {{"model", model}}));
    if (size_bytes > 0) {
      NWC_RETURN_IF_ERROR(nwc::CheckArguments("nwc_file_read", {{"memory", memory}}));
    }
    NWC_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, model->loader->LoadFile(file));
    return nwc::CopyExactly("nwc_file_read", bytes, memory, size_bytes);
  });
}

size_t nwc_source_count(const nwc_model* model) { return model->loader->sources().size(); }

const char* nwc_source_name(const nwc_model* model, size_t source) {
  if (source >= nwc_source_count(model)) return nullptr;
  return model->loader->sources()[source].name.c_str();
}

const char* nwc_source_metadata(const nwc_model* model, size_t source) {
  if (source >= nwc_source_count(model)) return nullptr;
  return model->loader->sources()[source].metadata.c_str();
}

nwc_code nwc_load(const nwc_model* model, size_t number, const nwc_slice* slice,
                  nwc_tensor** tensor) {
  return Guarded([&]() -> Status {
    NWC_RETURN_IF_ERROR(nwc::CheckArguments("nwc_load", {{"model", model}, {"tensor", tensor}}));
    NWC_ASSIGN_OR_RETURN(nwc::Tensor loaded, model->loader->Load(number, nwc::SliceFrom(slice)));
    *tensor = new nwc_tensor{std::move(loaded), model->loader->tensor(number).payload_bytes()};
    return {};
  });
}

nwc_code nwc_load_into(const nwc_model* model, size_t number, const nwc_slice* slice, void* memory,
                       size_t size_bytes) {
  return Guarded([&]() -> Status {
    NWC_RETURN_IF_ERROR(nwc::CheckArguments("nwc_load_into", {{"model", model}}));
    if (size_bytes > 0) {
      NWC_RETURN_IF_ERROR(nwc::CheckArguments("nwc_load_into", {{"memory", memory}}));
    }
    NWC_RETURN_IF_ERROR(nwc::CheckNumber(*model->loader, number));
    const nwc::TensorSlice wanted = nwc::SliceFrom(slice);
    NWC_RETURN_IF_ERROR(nwc::CheckRoom(model->loader->tensor(number), wanted, size_bytes));
    NWC_ASSIGN_OR_RETURN(const nwc::Tensor loaded, model->loader->Load(number, wanted));
    return nwc::CopyExactly("nwc_load_into", loaded.bytes.span(), memory, size_bytes);
  });
}

void* nwc_tensor_data(nwc_tensor* tensor) { return tensor->tensor.bytes.data(); }
size_t nwc_tensor_bytes(const nwc_tensor* tensor) { return tensor->tensor.bytes.size(); }
size_t nwc_tensor_number(const nwc_tensor* tensor) { return tensor->tensor.number; }

nwc_slice nwc_tensor_slice(const nwc_tensor* tensor) { return nwc::SliceTo(tensor->tensor.slice); }

nwc_code nwc_tensor_describe(const nwc_tensor* tensor, nwc_tensor_info* info) {
  return Guarded([&]() -> Status {
    NWC_RETURN_IF_ERROR(
        nwc::CheckArguments("nwc_tensor_describe", {{"tensor", tensor}, {"info", info}}));
    return nwc::Describe(tensor->tensor.info, tensor->stored_bytes, info);
  });
}

void nwc_tensor_free(nwc_tensor* tensor) { delete tensor; }
