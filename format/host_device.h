// Marks the arithmetic that decoders on every device share; CUDA's compiler compiles it for both.
#pragma once

#ifdef __CUDACC__
#define NWC_HOST_DEVICE __host__ __device__
#else
#define NWC_HOST_DEVICE
#endif
