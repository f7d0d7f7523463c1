#!/bin/bash
# Builds, tests and measures decoding on this machine's GPU; under ten minutes.
#
#   tests/bench/gpu.sh [MODEL.nwc...]
#
# Runs the tests of cuda/ on the emulator and on the GPU, compute-sanitizer's memcheck and racecheck
# where it is installed, and nwc bench --device cuda on each model (without one: a layer of MiniLM
# packed here, in every profile but nwc). A short table comes last. BUILD names the build folder (build-gpu).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BUILD=${BUILD:-build-gpu}
SUMMARY=()
FAILED=0

step() {  # NAME COMMAND... : runs it and adds a line to SUMMARY
  local name=$1 begun=$SECONDS word=ok
  shift
  echo "=== $name"
  "$@" || { word=FAILED; FAILED=1; }
  SUMMARY+=("$(printf '| %-28s | %-7s | %4d s |' "$name" "$word" "$((SECONDS - begun))")")
}

build() {
  # The GPU's own architecture alone compiles in a fraction of the time.
  cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release -DNWC_CUDA=ON -DNWC_TORCH=OFF \
    -DNWC_TESTS=ON -DCMAKE_CUDA_ARCHITECTURES="${NWC_GPU_ARCHITECTURE:-native}" &&
    cmake --build "$BUILD" -j "$(nproc)" --target cuda_test nwc nwc-pack
}

sanitize() {  # TOOL : fewer random chunks, each launch is slow under it
  compute-sanitizer --tool "$1" --error-exitcode 1 "$BUILD/bin/cuda_test" --gtest_brief=1 \
    --gtest_filter='*Golden*/Gpu:*LargeTiles*/Gpu:*TensorNet*/Gpu'
}

pack() {  # the committed layer as stream and as exact
  "$BUILD/bin/nwc-pack" tests/data/minilm_layer -o "$BUILD/stream.nwc" --bits 4 --force &&
    "$BUILD/bin/nwc-pack" tests/data/minilm_layer -o "$BUILD/exact.nwc" --profile exact --force
}

step build build
if ((FAILED)); then exit 1; fi
# A GPU that is not found makes the tests skip: here that is a failure.
step "GPU is found" bash -c \
  "! '$BUILD/bin/cuda_test' --gtest_filter='*WholeTensors*/Gpu' | grep -q SKIPPED"
step "tests, emulator and GPU" "$BUILD/bin/cuda_test" --gtest_brief=1
if command -v compute-sanitizer > /dev/null; then
  step memcheck sanitize memcheck
  step racecheck sanitize racecheck
else
  SUMMARY+=("| memcheck, racecheck          | not run | no compute-sanitizer here |")
fi
if (($# == 0)); then
  step "pack the committed layer" pack
  set -- "$BUILD/stream.nwc" "$BUILD/exact.nwc"
fi
for model in "$@"; do
  step "measure ${model##*/}" "$BUILD/bin/nwc" bench "$model" --device cuda --runs 10
done

echo
if command -v nvidia-smi > /dev/null; then
  nvidia-smi --query-gpu=name,driver_version --format=csv,noheader
fi
printf '%s\n' "| step | result | time |" "|---|---|---|" "${SUMMARY[@]}"
exit "$FAILED"
