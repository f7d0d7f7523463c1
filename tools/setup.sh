#!/bin/bash
# Installs the Debian packages that NWC needs and that are missing.
#
#   tools/setup.sh [build|test]     build: to build and pack; test: also to run every check
#
# Other scripts source this file for its functions and for PYTHON, the interpreter they run.

BUILD_PACKAGES=(
  g++ cmake ninja-build pkg-config
  liburing-dev libxxhash-dev libcli11-dev nlohmann-json3-dev
  libflatbuffers-dev flatbuffers-compiler flatbuffers-compiler-dev
  python3 python3-numpy python3-flatbuffers python3-pip python3-venv
)
TEST_PACKAGES=(
  libgtest-dev libgmock-dev libbenchmark-dev
  clang libclang-rt-14-dev clang-format clang-tidy
)

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
}

configure() {  # FOLDER [CMAKE ARGUMENT...]
  cmake -S . -B "$1" -G Ninja --no-warn-unused-cli -DPython3_EXECUTABLE="$PYTHON" "${@:2}" ||
    fail "cmake could not configure $1, see above"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  set -euo pipefail
  setup "${1:-build}"
fi
