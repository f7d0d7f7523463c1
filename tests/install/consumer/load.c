/* Loads every tensor of a model and says how many bytes they have: load_c MODEL */
#include <stdio.h>

#include "loader/nwc.h"

int main(int argc, char** argv) {
  nwc_model* model = NULL;
  nwc_stream* stream = NULL;
  nwc_tensor* tensor = NULL;
  size_t bytes = 0;
  nwc_code code = argc == 2 ? nwc_open(argv[1], NULL, &model) : NWC_USAGE;
  if (code == NWC_OK) code = nwc_stream_start(model, NULL, 0, 0, &stream);
  while (code == NWC_OK && (code = nwc_stream_next(stream, -1, &tensor)) == NWC_OK) {
    bytes += nwc_tensor_bytes(tensor);
    nwc_tensor_free(tensor);
  }
  if (code == NWC_FINISHED) {
    printf("decoded %zu bytes\n", bytes);
  } else {
    fprintf(stderr, "%s: %s\n", nwc_code_name(code), nwc_error_message());
  }
  nwc_stream_free(stream);
  nwc_close(model);
  return code == NWC_FINISHED ? 0 : 1;
}
