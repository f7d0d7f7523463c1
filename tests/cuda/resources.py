#!/usr/bin/env python3
"""Prints what the decode kernels take of a GPU, by architecture, as ptxas reports it.

    tests/cuda/resources.py [--nvcc NVCC] > tests/bench/results/cuda_resources.md

Exit status 1 if a kernel spills registers. Takes about a minute; needs no GPU.
"""
import argparse
import collections
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
ARCHITECTURES = (80, 86, 89, 90, 100, 120)  # those of CMakeLists.txt
FLAGS = ["-std=c++20", "-O3", "--expt-relaxed-constexpr", "-fmad=false", "-Xptxas=-v"]
DTYPES = {7: "F16", 8: "BF16", 11: "F32"}


def kernel_name(mangled: str) -> str:
    """'StreamKernel<BF16>'."""
    name = subprocess.run(["c++filt", mangled], capture_output=True, text=True,
                          check=True).stdout.strip()
    name = re.search(r"(\w+Kernel(?:<.*>)?)\(", name)[1]
    name = re.sub(r"\(nwc::DType\)(\d+)", lambda m: DTYPES[int(m[1])], name)
    words = {"unsigned short": "16 bits", "unsigned int": "32 bits"}
    for word, plain in words.items():
        name = name.replace(word, plain)
    return name


def measure(nvcc: str):
    """Rows: kernel -> architecture -> (registers, shared bytes, spilled bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
        log = subprocess.run(
            [nvcc, *FLAGS, *targets, f"-I{ROOT}", "-c", str(ROOT / "cuda/decode.cu"),
             "-o", f"{folder}/decode.o"], capture_output=True, text=True, check=True).stderr
    rows = collections.defaultdict(dict)
    kernel, architecture, spilled = None, None, 0
    for line in log.splitlines():
        if match := re.search(r"entry function '(\w+)' for 'sm_(\d+)'", line):
            kernel, architecture = kernel_name(match[1]), int(match[2])
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilled = int(match[1]) + int(match[2])
        elif match := re.search(r"Used (\d+) registers", line):
            shared = re.search(r"(\d+) bytes smem", line)
            rows[kernel][architecture] = (int(match[1]), int(shared[1]) if shared else 0, spilled)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nvcc", default="nvcc")
    arguments = parser.parse_args()
    version = subprocess.run([arguments.nvcc, "--version"], capture_output=True, text=True,
                             check=True).stdout
    rows = measure(arguments.nvcc)
    print("# What the decode kernels take of a GPU\n")
    print(f"As nvcc {re.search(r'release ([0-9.]+)', version)[1]} compiles them: registers a "
          "thread by architecture, and static shared\nmemory a block; the stream kernel takes as "
          "much more for its window of tables as leaves two blocks room, the\nnet what its width needs. Printed by "
          "`tests/cuda/resources.py`; nothing was run on a GPU for it.\n")
    print("| kernel | shared bytes | " + " | ".join(f"sm_{a}" for a in ARCHITECTURES)
          + " | spilled bytes |")
    print("|---" * (len(ARCHITECTURES) + 3) + "|")
    all_spilled = 0
    for kernel, by_architecture in sorted(rows.items()):
        spilled = sum(by_architecture[a][2] for a in ARCHITECTURES)
        all_spilled += spilled
        registers = " | ".join(str(by_architecture[a][0]) for a in ARCHITECTURES)
        shared = max(by_architecture[a][1] for a in ARCHITECTURES)
        print(f"| {kernel} | {shared} | {registers} | {spilled} |")
    return 1 if all_spilled else 0


if __name__ == "__main__":
    sys.exit(main())
