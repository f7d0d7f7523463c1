#!/usr/bin/env python3
"""What each check of a container costs: the table of results/integrity.md.

    tests/bench/integrity.py BIN_DIR FILE.nwc [--rounds 5] [-o OUTPUT.md]

The file is in the page cache; a process each, all ways in turn, medians.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile
import time

from machine import machine

LOADS = [
    ("load, nothing checked (`--no-verify`)", ["--no-verify"]),
    ("load, as it is: the hash of each chunk", []),
    ("load `--verify-decoded`: of each decoded tensor, too", ["--verify-decoded"]),
]


def run(command):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True).stdout


def load_seconds(nwc, file, options):
    return json.loads(run([nwc, "bench", "load", file, "--rounds", "1", "--json", "-q", *options]))["seconds"]


def process_seconds(command):
    begin = time.monotonic()
    run(command)
    return time.monotonic() - begin


def ways(nwc, file, manifest):
    found = [(name, lambda options=options: load_seconds(nwc, file, options)) for name, options in LOADS]
    commands = [
        ("`nwc verify`: every hash of the file", ["verify", file, "-q"]),
        ("`nwc verify --deep`: of every decoded tensor, too", ["verify", "--deep", file, "-q"]),
        ("`nwc manifest`: SHA-256 of the file and of every decoded tensor",
         ["manifest", file, "-o", manifest, "--force", "-q"]),
        ("`nwc verify --manifest`: the same, compared", ["verify", "--manifest", manifest, file, "-q"]),
    ]
    return found + [(name, lambda command=command: process_seconds([nwc, *command])) for name, command in commands]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("-o", "--output", type=pathlib.Path)
    arguments = parser.parse_args()
    nwc = arguments.binaries / "nwc"
    decoded = json.loads(run([nwc, "inspect", arguments.file, "--summary", "--json"]))["decoded_bytes"]
    seconds = {}
    load_average = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        all_ways = ways(nwc, arguments.file, pathlib.Path(folder) / "manifest.json")
        for _ in range(arguments.rounds):
            for name, measure in all_ways:
                seconds.setdefault(name, []).append(measure())
    base = statistics.median(seconds[LOADS[0][0]])
    lines = ["# What each check costs", "",
             f"Printed by `tests/bench/integrity.py build/bin {arguments.file.name} --rounds {arguments.rounds}` on "
             f"{machine()}, load average {load_average:.1f} before. {arguments.file.stat().st_size / 1e9:.3f} GB that decode to "
             f"{decoded / 1e9:.3f} GB, in the page cache; medians and the fastest.", "",
             "| what | seconds | fastest | of a load that checks nothing |", "|---|---|---|---|"]
    for name, measured in seconds.items():
        median = statistics.median(measured)
        lines.append(f"| {name} | {median:.3f} | {min(measured):.3f} | {median / base:.2f} |")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
