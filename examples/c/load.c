/* Lists the tensors of a packed model, loads one of them, then streams all.
 *
 *   cc -std=c99 load.c -lnwc -o load
 *   ./load model.nwc [TENSOR]
 */
#include <inttypes.h>
#include <stdio.h>

#include "loader/nwc.h"

static int fail(nwc_code code) {
  fprintf(stderr, "%s: %s\n", nwc_code_name(code), nwc_error_message());
  return 1;
}

static void print_info(const nwc_tensor_info* info) {
  int32_t i;
  printf("%s %s [", info->name, nwc_dtype_name(info->dtype));
  for (i = 0; i < info->dimensions; ++i) {
    printf("%s%" PRIu64, i > 0 ? ", " : "", info->shape[i]);
  }
  printf("] %s, %.2f bits\n", info->profile, info->bits);
}

static nwc_code list_tensors(const nwc_model* model) {
  nwc_tensor_info info = {.struct_size = sizeof(info)};
  size_t i;
  for (i = 0; i < nwc_tensor_count(model); ++i) {
    const nwc_code code = nwc_describe(model, i, &info);
    if (code != NWC_OK) return code;
    print_info(&info);
  }
  return NWC_OK;
}

/* All of it, and its first row alone. */
static nwc_code load_one(const nwc_model* model, const char* name) {
  const nwc_slice first_row = {0, 1, 0, NWC_END};
  nwc_tensor* whole = NULL;
  nwc_tensor* row = NULL;
  size_t number = 0;
  nwc_code code = nwc_find(model, name, &number);
  if (code == NWC_OK) code = nwc_load(model, number, NULL, &whole);
  if (code == NWC_OK) code = nwc_load(model, number, &first_row, &row);
  if (code == NWC_OK) {
    printf("%s: %zu bytes at %s, its first row %zu bytes\n", name, nwc_tensor_bytes(whole),
           nwc_tensor_data(whole) != NULL ? "an address" : "no address", nwc_tensor_bytes(row));
  }
  nwc_tensor_free(row);
  nwc_tensor_free(whole);
  return code;
}

/* Every tensor as soon as it is there. */
static nwc_code stream_all(const nwc_model* model) {
  nwc_stream* stream = NULL;
  nwc_tensor* tensor = NULL;
  uint64_t tensors = 0, bytes = 0;
  nwc_code code = nwc_stream_start(model, NULL, 0, 0, &stream);
  if (code != NWC_OK) return code;
  for (;;) {
    code = nwc_stream_next(stream, 1000, &tensor);
    if (code == NWC_TIMEOUT) continue; /* a program with other work does it here */
    if (code != NWC_OK) break;
    ++tensors;
    bytes += nwc_tensor_bytes(tensor);
    nwc_tensor_free(tensor);
  }
  nwc_stream_free(stream);
  if (code != NWC_FINISHED) return code;
  printf("streamed %" PRIu64 " tensors, %" PRIu64 " bytes\n", tensors, bytes);
  return NWC_OK;
}

int main(int argc, char** argv) {
  nwc_model* model = NULL;
  nwc_code code;
  if (argc < 2) {
    fprintf(stderr, "usage: %s MODEL [TENSOR]\n", argv[0]);
    return 2;
  }
  code = nwc_open(argv[1], NULL, &model);
  if (code == NWC_OK) code = list_tensors(model);
  if (code == NWC_OK && argc > 2) code = load_one(model, argv[2]);
  if (code == NWC_OK) code = stream_all(model);
  nwc_close(model);
  return code == NWC_OK ? 0 : fail(code);
}
