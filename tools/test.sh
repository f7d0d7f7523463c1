#!/bin/bash
# Installs what the checks need, builds NWC and runs all checks: what CI runs, step by step.
#
#   tools/test.sh [STEP...]     no step: all of them, in this order
#
#   setup         install missing Debian packages
#   format-check  clang-format on the C++ sources
#   dependencies  which folder may include and link what
#   build         Release build of everything into build/
#   unit          all tests of that build
#   asan          the tests, and the fuzz targets with a short search, under AddressSanitizer and
#                 UndefinedBehaviorSanitizer (clang, build-asan/)
#   tsan          the threaded tests under ThreadSanitizer (build-tsan/)
#   end-to-end    tools/quickstart.sh on the committed layer, no network
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh

STEPS=(setup format-check dependencies build unit asan tsan end-to-end)
JOBS=$(nproc)
UNIT_LOG=build/unit_tests.log
export ASAN_OPTIONS=strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1
export CTEST_OUTPUT_ON_FAILURE=1

# Sanitizer builds: -O1 keeps them quick; assertions stay on. LibTorch is not instrumented, so what needs
# it is left out; the GPU's code runs in the emulator.
SANITIZER_BUILD=(
  -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_FLAGS_RELEASE=-O1 -DNWC_BENCH=OFF -DNWC_TORCH=OFF -DNWC_CUDA=OFF
)

step_setup() { setup test; }

step_format-check() {
  local files
  mapfile -t files < <(git ls-files -- '*.h' '*.cc' '*.cu' '*.cuh')
  ((${#files[@]} > 0)) || fail "git ls-files found no sources: this step needs a git checkout"
  clang-format --dry-run -Werror "${files[@]}" || fail "repair with: clang-format -i FILE"
}

step_dependencies() { "$PYTHON" tools/check_dependencies.py; }

step_build() {
  configure build -DCMAKE_BUILD_TYPE=Release -DNWC_TESTS=ON -DNWC_BENCH=ON
  cmake --build build -j "$JOBS"
  "$PYTHON" tools/check_dependencies.py --binaries build/bin
}

step_unit() {
  need_build
  ctest --test-dir build -j "$JOBS" --no-tests=error 2>&1 | tee "$UNIT_LOG"
}

step_asan() {
  configure build-asan "${SANITIZER_BUILD[@]}" -DCMAKE_CXX_COMPILER=clang++ \
    -DCMAKE_CXX_FLAGS=-fsanitize=fuzzer-no-link -DNWC_TESTS=ON -DNWC_FUZZ=ON \
    -DNWC_SANITIZE=address,undefined
  cmake --build build-asan -j "$JOBS"
  ctest --test-dir build-asan -j "$JOBS" --no-tests=error
}

step_tsan() {
  # ThreadSanitizer of this age cannot run where the kernel spreads addresses widely.
  local plain_addresses=()
  if setarch -R true 2>/dev/null; then plain_addresses=(setarch -R); fi
  configure build-tsan "${SANITIZER_BUILD[@]}" -DNWC_TESTS=ON -DNWC_SANITIZE=thread
  "${plain_addresses[@]}" cmake --build build-tsan -j "$JOBS" --target loader_test remote_test nwc_c_test encoder_test cuda_test
  local test
  for test in loader_test remote_test nwc_c_test; do
    "${plain_addresses[@]}" "build-tsan/bin/$test" --gtest_brief=1
  done
  # Of loads onto a device, those that read with threads.
  "${plain_addresses[@]}" build-tsan/bin/cuda_test --gtest_brief=1 \
    --gtest_filter='DeviceLoaderOnHost.*:DeviceModel.*'
  # Packing takes long here; these have several threads.
  "${plain_addresses[@]}" build-tsan/bin/encoder_test --gtest_brief=1 \
    --gtest_filter='*Threads*:*StopsWhenCancelled:TrainTables.IsDeterministic*'
}

step_end-to-end() { bash tools/quickstart.sh --model tests/data/minilm_layer; }

need_build() {
  [[ -f build/build.ninja ]] || fail "nothing is built yet: run tools/test.sh setup build first"
}

run_step() {  # NAME : adds a line to SUMMARY; a failure ends the script
  local begun=$SECONDS status
  echo
  echo "=== $1"
  set +e
  (set -e; "step_$1")
  status=$?
  set -e
  local word=ok
  ((status == 0)) || word=FAILED
  SUMMARY+=("$(printf '%-6s  %-12s  %4d s' "$word" "$1" "$((SECONDS - begun))")")
  echo "--- ${SUMMARY[-1]}"
  ((status == 0)) || finish "$1" "$status"
}

finish() {  # [FAILED STEP, ITS STATUS]
  echo
  echo "=== summary"
  printf '%s\n' "${SUMMARY[@]}"
  if (($# > 0)); then
    echo "test.sh: step '$1' failed, see above; to run it alone: tools/test.sh $1" >&2
    exit "$2"
  fi
  [[ ! -f $UNIT_LOG ]] || grep -A 1 'tests passed' "$UNIT_LOG"
}

main() {
  exec </dev/null
  local steps=("$@") step
  ((${#steps[@]} > 0)) || steps=("${STEPS[@]}")
  for step in "${steps[@]}"; do
    [[ " ${STEPS[*]} " == *" $step "* ]] || fail "no step '$step'; steps: ${STEPS[*]}"
  done
  SUMMARY=()
  rm -f "$UNIT_LOG"
  for step in "${steps[@]}"; do run_step "$step"; done
  finish
}

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
  exit
fi
main "$@"
