// Everything a user of GPU decoding needs. No CUDA headers.
#pragma once

#include "cuda/device_loader.h"     // IWYU pragma: export
#include "cuda/device_runtime.h"    // IWYU pragma: export
#include "cuda/model_codecs.h"      // IWYU pragma: export
#include "cuda/nccl_broadcast.h"    // IWYU pragma: export
#include "cuda/socket_broadcast.h"  // IWYU pragma: export
