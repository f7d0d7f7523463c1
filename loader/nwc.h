/* The C interface of the loader: opens models, lists their tensors and brings them into memory.
 * C99, C++ or any language that calls C. Link with -lnwc.
 *
 *   nwc_model* model = NULL;
 *   nwc_tensor* tensor = NULL;
 *   size_t number = 0;
 *   if (nwc_open("model.nwc", NULL, &model) || nwc_find(model, "model.norm.weight", &number) ||
 *       nwc_load(model, number, NULL, &tensor)) {
 *     fprintf(stderr, "%s\n", nwc_error_message());
 *   }
 *
 * Handles are opaque. Whoever gets one from a function that returns nwc_code owns it and hands it
 * to the function of its kind that frees; NULL may be freed. Handles do not depend on each other: a
 * tensor or stream outlives its model, and strings that a handle gives live as long as it does.
 *
 * Errors: functions that can fail return an nwc_code, and on failure leave what they were to fill
 * in as it was. nwc_error_message() then says what happened, on the thread that made the call. No
 * C++ exception leaves the library.
 *
 * Threads: a model, and a tensor that nobody writes to, may be used by many threads at once. A
 * handle is freed by one thread, when no other uses it. What streams allow stands with them.
 *
 * Versions: functions keep their meaning, and structures grow only at the end, with fields whose
 * zero means what there was before. Every structure says its size in struct_size, so programs
 * that were built with an older header run with a newer library. Symbols are versioned (NWC_1).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define NWC_API __attribute__((visibility("default")))
#define NWC_CHECKED __attribute__((warn_unused_result))
#else
#define NWC_API
#define NWC_CHECKED
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* -- Versions and errors ------------------------------------------------------------------- */

#define NWC_ABI_VERSION 1 /* of this header; nwc_abi_version() is the library's */

NWC_API uint32_t nwc_abi_version(void);
NWC_API const char* nwc_version(void); /* "0.1.0"; lives for ever, as all names below */

typedef int32_t nwc_code;
enum {
  NWC_OK = 0,
  NWC_USAGE = 1,       /* the caller asked for something impossible */
  NWC_NOT_FOUND = 2,   /* no such file or tensor */
  NWC_CORRUPT = 3,     /* data breaks a rule of spec/format.md: nwc_error_rule() */
  NWC_UNSUPPORTED = 4, /* valid, but newer than or beyond this library */
  NWC_IO = 5,          /* the operating system or the server refused or failed */
  NWC_OUT_OF_MEMORY = 6,
  NWC_CANCELLED = 7,
  NWC_INTERNAL = 8, /* a bug of the library */
  NWC_TIMEOUT = 9,  /* nwc_stream_next: nothing is ready yet; not an error */
  NWC_FINISHED = 10 /* nwc_stream_next: all tensors were handed over; not an error */
};
NWC_API const char* nwc_code_name(nwc_code code); /* "corrupt"; "unknown" for other numbers */

/* About the last call on this thread that failed: what, where (file, tensor, chunk), what was
 * expected and what to do. UTF-8, never NULL, valid until the next call on this thread that fails.
 */
NWC_API const char* nwc_error_message(void);
/* Number of the broken rule when that was NWC_CORRUPT, or 0. */
NWC_API int32_t nwc_error_rule(void);

/* -- Models -------------------------------------------------------------------------------- */

typedef struct nwc_model nwc_model;

/* Zero stands for the default in every field. */
typedef struct nwc_options {
  size_t struct_size;     /* sizeof(nwc_options) */
  const char* io;         /* "auto", "uring", "direct", "pread" or "mmap" */
  uint64_t staging_bytes; /* most compressed bytes in flight in one call; 64 MiB */
  int32_t threads;        /* that decode, in one call; as many as this process may keep busy */
  uint8_t skip_hashes;    /* 1: do not check the hash of every chunk */
  uint8_t verify_decoded; /* 1: check the hash of whole decoded tensors too */
  uint8_t reserved[2];    /* zero */
  /* For http:// and https://. */
  const char* cache_folder;   /* keeps checked chunks for other loads; NWC_CACHE or none */
  uint64_t cache_bytes;       /* 16 GiB */
  const char* aws_sigv4;      /* "aws:amz:REGION:s3" signs requests with the AWS_* variables */
  const char* const* headers; /* "Name: value" each */
  size_t header_count;
  int32_t connect_timeout_ms; /* 10000 */
  int32_t stall_timeout_s;    /* without a byte for so long a try has failed; 20 */
  int32_t retries;            /* after a failure that may pass; 5; negative: none */
  int32_t parallel_ranges;    /* requests at once; 8 */
} nwc_options;
/* nwc_options options = NWC_OPTIONS_INIT; */
#define NWC_OPTIONS_INIT \
  { sizeof(nwc_options), NULL, 0, 0, 0, 0, {0, 0}, NULL, 0, NULL, NULL, 0, 0, 0, 0, 0 }

/* Opens a container, a set of them (its index file, one of its shards, a folder with one set) or a
 * URL of either, and reads and checks its index. `options` may be NULL. A path that is not there is
 * NWC_NOT_FOUND. */
NWC_API nwc_code nwc_open(const char* path, const nwc_options* options,
                          nwc_model** model) NWC_CHECKED;
NWC_API void nwc_close(nwc_model* model);
NWC_API const char* nwc_model_path(const nwc_model* model); /* a URL without its secrets */
NWC_API const char* nwc_model_io(const nwc_model* model);   /* which way of reading runs and why */

typedef int32_t nwc_dtype;
enum {
  NWC_BOOL = 0,
  NWC_U8 = 1,
  NWC_I8 = 2,
  NWC_F8_E5M2 = 3,
  NWC_F8_E4M3 = 4,
  NWC_I16 = 5,
  NWC_U16 = 6,
  NWC_F16 = 7,
  NWC_BF16 = 8,
  NWC_I32 = 9,
  NWC_U32 = 10,
  NWC_F32 = 11,
  NWC_F64 = 12,
  NWC_I64 = 13,
  NWC_U64 = 14
};
NWC_API const char* nwc_dtype_name(nwc_dtype dtype); /* as in safetensors: "BF16"; or "unknown" */
NWC_API size_t nwc_dtype_size(nwc_dtype dtype);      /* bytes an element; 0 for other numbers */

#define NWC_MAX_DIMENSIONS 8

typedef struct nwc_tensor_info {
  size_t struct_size;                 /* sizeof(nwc_tensor_info), set by the caller */
  const char* name;                   /* UTF-8 */
  const char* profile;                /* "raw", "exact", "stream", "nwc" or "unknown" */
  uint64_t shape[NWC_MAX_DIMENSIONS]; /* elements; the first `dimensions` of them */
  uint64_t rows, columns;             /* the matrix that slices are cut from: usually dimension 0
                                         and the product of all others */
  uint64_t decoded_bytes;
  uint64_t stored_bytes;
  double bits;   /* stored, an element; 0 for an empty tensor */
  int64_t layer; /* first number between dots in the name, or -1 */
  nwc_dtype dtype;
  int32_t dimensions; /* 0 for a scalar */
  int32_t supported;  /* 0: this library cannot decode it */
  int32_t linear;     /* 1: weight of a linear layer */
} nwc_tensor_info;

/* Tensors have numbers from 0 on, in file order, through all shards. */
NWC_API size_t nwc_tensor_count(const nwc_model* model);
NWC_API nwc_code nwc_describe(const nwc_model* model, size_t number,
                              nwc_tensor_info* info) NWC_CHECKED;
/* NWC_NOT_FOUND, with similar names in its message, when there is none. */
NWC_API nwc_code nwc_find(const nwc_model* model, const char* name, size_t* number) NWC_CHECKED;

/* Files of the checkpoint that travel along (config.json, the tokenizer); NULL and 0 outside. */
NWC_API size_t nwc_file_count(const nwc_model* model);
NWC_API const char* nwc_file_name(const nwc_model* model, size_t file);
NWC_API uint64_t nwc_file_size(const nwc_model* model, size_t file); /* bytes */
/* Writes all of it to `memory`, which has room for size_bytes = nwc_file_size(), and checks it. */
NWC_API nwc_code nwc_file_read(const nwc_model* model, size_t file, void* memory,
                               size_t size_bytes) NWC_CHECKED;

/* The .safetensors files that were packed, and the JSON object `__metadata__` of each or "". */
NWC_API size_t nwc_source_count(const nwc_model* model);
NWC_API const char* nwc_source_name(const nwc_model* model, size_t source);
NWC_API const char* nwc_source_metadata(const nwc_model* model, size_t source);

/* -- One tensor ---------------------------------------------------------------------------- */

/* Half-open ranges of the matrix rows × columns, in elements. Where a function takes a pointer to
 * one, NULL is the whole tensor. Only the chunks that a slice touches are read and checked. */
#define NWC_END UINT64_MAX /* as an end: up to the last one */
typedef struct nwc_slice {
  uint64_t row_begin, row_end;
  uint64_t column_begin, column_end;
} nwc_slice;

/* A decoded tensor, or slice of one, that owns its memory. */
typedef struct nwc_tensor nwc_tensor;

NWC_API nwc_code nwc_load(const nwc_model* model, size_t number, const nwc_slice* slice,
                          nwc_tensor** tensor) NWC_CHECKED;
/* Into memory of the caller: size_bytes must be what the slice takes, rows × columns elements
 * (NWC_USAGE). It is decoded into memory of its own and copied once; what `memory` holds after a
 * failure is what it held before. */
NWC_API nwc_code nwc_load_into(const nwc_model* model, size_t number, const nwc_slice* slice,
                               void* memory, size_t size_bytes) NWC_CHECKED;

/* Row-major, little-endian, 64-byte aligned; NULL when it has no elements. The caller may write to
 * it. Nothing else refers to it, and it is freed by nwc_tensor_free alone. */
NWC_API void* nwc_tensor_data(nwc_tensor* tensor);
NWC_API size_t nwc_tensor_bytes(const nwc_tensor* tensor);
NWC_API size_t nwc_tensor_number(const nwc_tensor* tensor);   /* in its model */
NWC_API nwc_slice nwc_tensor_slice(const nwc_tensor* tensor); /* what it holds, without NWC_END */
/* Of the whole tensor, as nwc_describe says it. */
NWC_API nwc_code nwc_tensor_describe(const nwc_tensor* tensor, nwc_tensor_info* info) NWC_CHECKED;
NWC_API void nwc_tensor_free(nwc_tensor* tensor);

/* -- Many tensors -------------------------------------------------------------------------- */

typedef struct nwc_request {
  size_t number;
  nwc_slice slice; /* all: {0, NWC_END, 0, NWC_END} */
} nwc_request;

typedef struct nwc_statistics {
  size_t struct_size;  /* sizeof(nwc_statistics), set by the caller */
  uint64_t bytes_read; /* without the index */
  uint64_t bytes_decoded;
  uint64_t reads; /* requests to the file or server */
  uint64_t peak_staging_bytes;
  double seconds; /* from the first read to the last tensor */
  int32_t used_uring;
  int32_t reserved;
} nwc_statistics;

/* A load that runs by itself and puts tensors into a queue in the order of the requests. Tensors
 * are taken with nwc_stream_next, by one thread or several; any thread may cancel at any time. */
typedef struct nwc_stream nwc_stream;

/* Begins to load each request (a tensor at most once); `requests` NULL: `count` must be 0, all
 * tensors that are supported, in file order. At most queue_length tensors (0: 2) wait to be taken;
 * three more may be on their way. Impossible requests are an error of the first nwc_stream_next. */
NWC_API nwc_code nwc_stream_start(const nwc_model* model, const nwc_request* requests, size_t count,
                                  size_t queue_length, nwc_stream** stream) NWC_CHECKED;
/* Waits up to timeout_ms (negative: as long as it takes; 0: not at all) for the next tensor, which
 * the caller then owns. NWC_TIMEOUT when none was ready; NWC_FINISHED when all were handed over;
 * any other code is the stream's end, which every later call gives again. Tensors that were ready
 * before an error come first; a cancelled stream gives none any more. */
NWC_API nwc_code nwc_stream_next(nwc_stream* stream, int64_t timeout_ms,
                                 nwc_tensor** tensor) NWC_CHECKED;
/* Returns at once; nwc_stream_next gives NWC_CANCELLED from then on, unless all was handed over. */
NWC_API void nwc_stream_cancel(nwc_stream* stream);
/* Of a stream that has ended; NWC_USAGE while it loads. */
NWC_API nwc_code nwc_stream_statistics(nwc_stream* stream, nwc_statistics* statistics) NWC_CHECKED;
/* Cancels, waits for the threads of the stream (milliseconds) and frees what was not taken. */
NWC_API void nwc_stream_free(nwc_stream* stream);

/* -- Borrowed tensors ---------------------------------------------------------------------- */

/* A tensor that is lent for the time of a call: nothing is to be freed, and neither it nor its
 * memory may be used after the visitor returns. */
typedef struct nwc_view nwc_view;

NWC_API size_t nwc_view_number(const nwc_view* view);
NWC_API nwc_slice nwc_view_slice(const nwc_view* view);
NWC_API nwc_code nwc_view_describe(const nwc_view* view, nwc_tensor_info* info) NWC_CHECKED;
/* Its elements, `count` of them, for a caller that expects this dtype; NULL and a count of 0 when
 * the tensor has another one, or no elements. As nwc_tensor_data, but read-only. */
NWC_API const void* nwc_view_elements(const nwc_view* view, nwc_dtype expected, size_t* count);

/* Anything but NWC_OK ends the visit, which returns that code. */
typedef nwc_code (*nwc_visitor)(void* context, const nwc_view* view);
/* Takes every tensor that is left and calls `visit` with it, one at a time, on the calling thread.
 * NWC_OK when all were visited, else the visitor's code or the stream's end. */
NWC_API nwc_code nwc_stream_visit(nwc_stream* stream, nwc_visitor visit, void* context) NWC_CHECKED;

#ifdef __cplusplus
} /* extern "C" */
#endif
