# The imported target `torch`: LibTorch's CPU library from the folder NWC_LIBTORCH, into which
# tools/setup.sh puts the pinned wheel. LibTorch's own CMake package is not used: it switches the
# CUDA language on and links the CUDA half.
set(NWC_LIBTORCH "$ENV{NWC_LIBTORCH}" CACHE PATH "Folder that holds torch/include and torch/lib")
if(NOT EXISTS "${NWC_LIBTORCH}/torch/lib/libtorch_cpu.so")
  message(FATAL_ERROR "no LibTorch in NWC_LIBTORCH='${NWC_LIBTORCH}'. tools/setup.sh installs it and "
                      "prints the folder; -DNWC_TORCH=OFF builds without calibration, evaluation, "
                      "training and recovery.")
endif()
set(torch_include ${NWC_LIBTORCH}/torch/include)
set(torch_lib ${NWC_LIBTORCH}/torch/lib)

add_library(torch_c10 SHARED IMPORTED GLOBAL)
set_target_properties(torch_c10 PROPERTIES IMPORTED_LOCATION ${torch_lib}/libc10.so)
add_library(torch SHARED IMPORTED GLOBAL)
set_target_properties(torch PROPERTIES
  IMPORTED_LOCATION ${torch_lib}/libtorch_cpu.so
  INTERFACE_INCLUDE_DIRECTORIES "${torch_include};${torch_include}/torch/csrc/api/include"
  INTERFACE_LINK_LIBRARIES torch_c10)
# Two CUDA run-time libraries are needed to start, GPU or not; the wheel looks for them beside it.
set(torch_cuda_lib ${NWC_LIBTORCH}/nvidia/cu13/lib)
target_link_options(torch INTERFACE
  "LINKER:-rpath,${torch_lib}" "LINKER:-rpath,${torch_cuda_lib}" "LINKER:-rpath-link,${torch_cuda_lib}"
  "LINKER:-rpath-link,${torch_lib}" "LINKER:--disable-new-dtags")
