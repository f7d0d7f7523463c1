#!/bin/bash
# Installs what NWC needs and what is missing: Debian packages, LibTorch and the Python package
# `tokenizers` (the last two into a folder of their own, pinned; 1.2 GB).
#
#   tools/setup.sh [build|test]     build: to build and pack; test: also to run every check
#
# NWC_LIBTORCH names a folder with torch/include and torch/lib to use in place of the one that is
# fetched; NWC_CACHE the folder that fetched things go to (~/.cache/nwc).
#
# Other scripts source this file for its functions, for PYTHON, the interpreter they run, and for
# NWC_LIBTORCH and PYTHONPATH.

BUILD_PACKAGES=(
  g++ cmake ninja-build pkg-config
  liburing-dev libcurl4-openssl-dev libssl-dev libxxhash-dev zlib1g-dev libcli11-dev nlohmann-json3-dev
  libflatbuffers-dev flatbuffers-compiler flatbuffers-compiler-dev
  python3 python3-numpy python3-flatbuffers python3-pip python3-venv
)
TEST_PACKAGES=(
  libgtest-dev libgmock-dev libbenchmark-dev
  dpkg-dev groff-base
  clang libclang-rt-14-dev clang-format clang-tidy
)

TORCH_VERSION=2.11.0
# The wheel's CPU library is linked against these two, GPU or not.
TORCH_WHEELS=(
  "torch==$TORCH_VERSION" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85
)
TOKENIZERS_VERSION=0.22.2
NWC_CACHE=${NWC_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/nwc}
export NWC_LIBTORCH=${NWC_LIBTORCH:-$NWC_CACHE/libtorch-$TORCH_VERSION}
# LibTorch's threads must not spin while they wait.
export OMP_WAIT_POLICY=passive

# Debian's own interpreter: another python3 that comes first in PATH would not see Debian's modules.
PYTHON=/usr/bin/python3

fail() {
  echo "${0##*/}: $*" >&2
  exit 1
}

missing_packages() {  # PACKAGE... -> the ones not installed, one a line
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      echo "$package"
  done
}

install_packages() {  # PACKAGE...
  command -v dpkg-query >/dev/null ||
    fail "this is not Debian or a system like it; install by hand what these Debian packages hold:" \
      "$* (CONTRIBUTING.md says how to build then)"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if ((${#missing[@]} == 0)); then
    echo "all packages are installed"
    return
  fi
  local command="apt-get update && apt-get install -y --no-install-recommends ${missing[*]}"
  ((EUID == 0)) || fail "packages are missing and only root can install them; run as root: $command"
  echo "installing: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq || fail "apt-get update failed: are the package sources reachable?"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    fail "apt-get could not install: ${missing[*]}"
}

install_wheels() {  # FOLDER WHEEL... : whole or not at all
  local folder=$1 part=$1.part-$$
  [[ ! -d $folder ]] || return 0
  echo "installing into $folder: ${*:2}"
  mkdir -p "${folder%/*}"
  rm -rf "$part"
  "$PYTHON" -m pip install --quiet --no-deps --no-compile --disable-pip-version-check \
    --root-user-action=ignore --target "$part" "${@:2}" ||
    { rm -rf "$part"; fail "pip could not install ${*:2}: is the package index reachable?"; }
  mv "$part" "$folder"
}

install_libtorch() {
  [[ -f $NWC_LIBTORCH/torch/lib/libtorch_cpu.so ]] ||
    install_wheels "$NWC_LIBTORCH" "${TORCH_WHEELS[@]}"
  [[ -f $NWC_LIBTORCH/torch/lib/libtorch_cpu.so ]] ||
    fail "NWC_LIBTORCH=$NWC_LIBTORCH holds no torch/lib/libtorch_cpu.so"
}

# For text: the tools call Python to tokenize it.
install_tokenizers() {
  local folder=$NWC_CACHE/tokenizers-$TOKENIZERS_VERSION
  "$PYTHON" -c 'import tokenizers' 2>/dev/null || install_wheels "$folder" "tokenizers==$TOKENIZERS_VERSION"
}

check_python() {
  "$PYTHON" -c 'import flatbuffers, numpy' ||
    fail "$PYTHON cannot import numpy and flatbuffers; reinstall python3-numpy python3-flatbuffers"
}

setup() {  # build|test
  case $1 in
    build) install_packages "${BUILD_PACKAGES[@]}" ;;
    test) install_packages "${BUILD_PACKAGES[@]}" "${TEST_PACKAGES[@]}" ;;
    *) fail "unknown argument '$1', expected build or test" ;;
  esac
  check_python
  install_libtorch
  install_tokenizers
}

configure() {  # FOLDER [CMAKE ARGUMENT...]
  cmake -S . -B "$1" -G Ninja --no-warn-unused-cli -DPython3_EXECUTABLE="$PYTHON" \
    -DNWC_LIBTORCH="$NWC_LIBTORCH" "${@:2}" ||
    fail "cmake could not configure $1, see above"
}

export NWC_PYTHON=${NWC_PYTHON:-$PYTHON}
export PYTHONPATH=$NWC_CACHE/tokenizers-$TOKENIZERS_VERSION${PYTHONPATH:+:$PYTHONPATH}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  set -euo pipefail
  setup "${1:-build}"
fi
