// Everything a user of GPU decoding needs. No CUDA headers.
#pragma once

#include "cuda/device_loader.h"   // IWYU pragma: export
#include "cuda/device_runtime.h"  // IWYU pragma: export
