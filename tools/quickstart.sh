#!/bin/bash
# From a fresh clone on Debian 12 to a packed model: installs what is missing, builds, brings a real
# checkpoint, packs it three ways, verifies, loads and unpacks each file, and prints one table.
#
#   tools/quickstart.sh [--model DIR]     DIR: a checkpoint folder with model.safetensors, in place
#                                         of all-MiniLM-L6-v2, which is downloaded into models/
#
# Can be run again: what is installed, built or downloaded is kept. Results: build/quickstart/.
set -eEuo pipefail

BUNDLED_LAYER=tests/data/minilm_layer
WORK=build/quickstart
LABELS=(stream-4.5 stream-4 exact)
declare -A PACK_OPTIONS=(
  [stream-4.5]='--profile stream --bits 4.5'  # the default
  [stream-4]='--profile stream --bits 4'
  [exact]='--profile exact'
)

usage() {
  sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

model=
while (($# > 0)); do
  case $1 in
    --model)
      [[ -n ${2:-} ]] || { echo "quickstart.sh: --model needs a folder" >&2; exit 2; }
      model=$(realpath -- "$2")
      shift 2
      ;;
    -h | --help) usage; exit 0 ;;
    *) echo "quickstart.sh: unknown argument '$1'; see tools/quickstart.sh --help" >&2; exit 2 ;;
  esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/setup.sh
step_name=start
trap 'echo "quickstart.sh: failed in step \"$step_name\", see above" >&2' ERR

step() {
  step_name=$*
  echo
  echo "== $step_name"
}

run() {  # shows the command, then runs it
  echo "\$ $*"
  "$@"
}

run_json() {  # OUTPUT COMMAND... : the same; standard output goes to the file
  echo "\$ ${*:2}"
  "${@:2}" >"$1"
}

# A progress bar is for a terminal; in a log it would only be noise.
quiet=()
[[ -t 2 ]] || quiet=(--quiet)

choose_model() {
  if [[ -n $model ]]; then
    [[ -f $model/model.safetensors ]] || fail "$model: no model.safetensors in this folder"
    [[ $model/ != "$PWD/$WORK/"* ]] ||
      fail "$model: this script empties $WORK first; copy the checkpoint elsewhere"
  elif "$PYTHON" tools/get_models.py models minilm; then
    model=models/minilm
  else
    echo "The checkpoint could not be fetched (see above): going on with the one layer of it that is"
    echo "part of this repository. The figures below are of that layer, not of the whole model."
    model=$BUNDLED_LAYER
  fi
  echo "checkpoint: $model, $(stat -L -c %s "$model/model.safetensors") bytes of weights"
}

measure() {  # LABEL : packs, verifies, unpacks, compares and times; figures go to $WORK/LABEL.*.json
  local packed=$WORK/$1.nwc options
  read -ra options <<<"${PACK_OPTIONS[$1]}"
  run_json "$WORK/$1.pack.json" build/bin/nwc-pack "$model" -o "$packed" "${options[@]}" --json \
    "${quiet[@]}"
  run build/bin/nwc verify --deep "$packed" "${quiet[@]}"
  run_json "$WORK/$1.inspect.json" build/bin/nwc inspect "$packed" --json
  run build/bin/nwc unpack "$packed" -o "$WORK/$1" "${quiet[@]}"
  run_json "$WORK/$1.diff.json" build/bin/nwc diff "$model" "$WORK/$1" --json "${quiet[@]}"
  run_json "$WORK/$1.bench.json" build/bin/nwc bench "$packed" --json "${quiet[@]}"
}

step "install missing packages"
setup build

step "build into build/bin"
configure build -DCMAKE_BUILD_TYPE=Release
cmake --build build -j "$(nproc)" --target nwc nwc-pack

step "checkpoint"
choose_model

rm -rf "$WORK"
mkdir -p "$WORK"
for label in "${LABELS[@]}"; do
  step "pack, verify, unpack and load: $label"
  measure "$label"
done

step "read the same checkpoint as plain safetensors"
run_json "$WORK/safetensors.json" "$PYTHON" tools/read_safetensors.py "$model/model.safetensors"

step "result"
"$PYTHON" tools/quickstart_report.py "$WORK" "${LABELS[@]}"
echo
echo "The packed files are in $WORK; try: build/bin/nwc inspect $WORK/stream-4.5.nwc"
