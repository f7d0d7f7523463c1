#!/usr/bin/env python3
"""Compares nwc.load_file with `nwc bench load`: both load all tensors, each time in a new process.

    tests/python/throughput.py BIN_DIR model.nwc [ROUNDS]

Prints medians and fastest times of ROUNDS (15) loads each, taken in turn from a file in memory, and
their ratio: 1 is as fast as the program, more is faster.
"""
import json
import statistics
import subprocess
import sys

LOAD = """
import sys, time
import numpy, nwc
begun = time.perf_counter()
tensors = nwc.load_file(sys.argv[1])
print(time.perf_counter() - begun)
"""


def program_seconds(binaries, model):
    report = subprocess.run([f"{binaries}/nwc", "bench", "load", "--json", "--rounds", "1", model],
                            check=True, capture_output=True, text=True).stdout
    return json.loads(report)["seconds"]


def package_seconds(model):
    return float(subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD, model], check=True,
                                capture_output=True, text=True).stdout)


def main():
    binaries, model = sys.argv[1:3]
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 15
    program_seconds(binaries, model)
    times = [(program_seconds(binaries, model), package_seconds(model)) for _ in range(rounds)]
    program, package = zip(*times)
    for what, summary in (("median", statistics.median), ("fastest", min)):
        print(f"{what}: nwc bench load {summary(program):.4f} s, nwc.load_file "
              f"{summary(package):.4f} s, ratio {summary(program) / summary(package):.3f}")


if __name__ == "__main__":
    main()
