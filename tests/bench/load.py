#!/usr/bin/env python3
"""Times loading against other loaders, in one run on one disk.

    tests/bench/install_peers.sh VENV
    tests/bench/load.py BIN_DIR CHECKPOINT --work DIR --peers VENV [-o RESULTS]

Repeats the layers of CHECKPOINT (models/smollm2) to 1.5 GB of bfloat16, packs that at 4.5 bits and
without loss, and has every loader load it in turn, a process a load, first with the files dropped
from the page cache before each load (proven by fincore), then with them in it. Writes RESULTS.json
and RESULTS.md. DIR keeps the files, 7 GB, for the next run; packing takes a quarter of an hour.
Needs numpy, root for nothing, and a quiet machine: the load average is reported.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from machine import machine
from tiled_checkpoint import make

PEER_SCRIPT = pathlib.Path(__file__).with_name("load_peers.py")
COLD_SHARE, HOT_SHARE = 0.01, 0.99
PARTS = 30  # a part is one layer of 30: of 210 layers, 7


def run(*command):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout


def resident_share(path):
    pages, size = map(int, run("fincore", "--bytes", "--noheadings", "--output", "RES,SIZE", path).split())
    return min(1, pages / size)


def drop_pages(path):
    """The file's pages are gone after it, or the run ends."""
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)
    left = resident_share(path)
    if left > COLD_SHARE:
        sys.exit(f"{path}: {100 * left:.1f} % of its pages stayed in memory; put --work on a disk")
    return left


def read_pages(path):
    if resident_share(path) < HOT_SHARE:
        with open(path, "rb", buffering=0) as f:
            while f.read(8 << 20):
                pass
    return resident_share(path)


class Contender:
    """A loader with its file; `load` gives seconds and what else it knows."""

    cold_options = ()

    def __init__(self, name, path, command, missing=None):
        self.name, self.path, self.command, self.missing = name, path, command, missing
        self.runs = {"cold": [], "hot": []}

    def round(self, state):
        share = (drop_pages if state == "cold" else read_pages)(self.path)
        result = json.loads(run(*self.command, *self.cold_options if state == "cold" else (), self.path))
        self.runs[state].append(result | {"resident_share_before": share})

    def seconds(self, state):
        return [r["seconds"] for r in self.runs[state]]

    def median(self, state):
        return statistics.median(self.seconds(state))

    def peak(self):
        return max(r["peak_memory_bytes"] - r.get("peak_memory_bytes_before", 0) for r in self.runs["hot"])


class Nwc(Contender):
    cold_options = ("--cold",)  # else it makes sure of a hot file


class Bench:
    def __init__(self, arguments):
        self.nwc, self.nwc_pack = arguments.binaries / "nwc", arguments.binaries / "nwc-pack"
        self.work, self.venv = arguments.work, arguments.peers
        self.checkpoint = self.work / "tiled"
        if not self.checkpoint.exists():
            make(arguments.checkpoint, self.checkpoint, 1.5e9)
        self.source = self.checkpoint / "model.safetensors"
        self.layers = json.loads((self.checkpoint / "config.json").read_text())["num_hidden_layers"]
        self.contenders = []

    def packed(self, name, *options):
        path = self.work / f"{name}.nwc"
        if not path.exists():
            run(self.nwc_pack, self.checkpoint, "-o", path, "-q", *options)
        return path

    def add_nwc(self, name, path, *options):
        command = [self.nwc, "bench", "load", "--rounds", "1", "--json", "-q", *options]
        self.contenders.append(Nwc(name, path, command))

    def add_peer(self, name, peer, package, prepared=False):
        reports = self.venv / "peers.tsv" if self.venv else None
        state = "not installed: no --peers"
        for line in reports.read_text().splitlines() if reports else []:
            if line.startswith(package + "=="):
                state = line.split("\t")[1]
        python = self.venv / "bin" / "python" if self.venv else None
        path = self.work / f"tiled.{peer}" if prepared else self.source
        if state == "installed" and not path.exists():
            run(python, PEER_SCRIPT, "prepare", peer, self.source, path)
        missing = None if state == "installed" else state
        self.contenders.append(Contender(name, path, [python, PEER_SCRIPT, "load", peer], missing))

    def add_all(self):
        self.add_peer("safetensors load_file, mapped, every page touched", "safetensors", "safetensors")
        self.add_peer("safetensors safe_open, every tensor copied", "safetensors-copied", "safetensors")
        self.add_peer("safetensors load_file(backend=\"pread\")", "safetensors-pread", "safetensors")
        self.add_peer("pread, one thread, no tensors", "pread", "torch")
        self.add_peer("pread, four threads, no tensors", "pread-threads", "torch")
        self.add_peer("runai-model-streamer", "runai", "runai-model-streamer")
        self.add_peer("tensorizer", "tensorizer", "tensorizer", prepared=True)
        self.add_peer("zipnn, its safetensors plugin", "zipnn", "zipnn", prepared=True)
        self.add_nwc("nwc, stream at 4.5 bits", self.packed("stream"))
        self.add_nwc("nwc, exact", self.packed("exact", "--profile", "exact"))
        part = f"0-{self.layers // PARTS - 1}"
        self.add_nwc(f"nwc, stream, layers {part} of {self.layers}", self.packed("stream"), "--layers", part)

    def measure(self, rounds):
        for state in ("cold", "hot"):
            for number in range(rounds):
                print(f"{state}, round {number + 1} of {rounds}", file=sys.stderr)
                for contender in self.contenders:
                    if not contender.missing:
                        contender.round(state)

    def find(self, prefix):
        return next(c for c in self.contenders if c.name.startswith(prefix))


def table(bench):
    """Ratios are against the faster of safetensors' ways, of the same state."""
    ways = [c for c in bench.contenders if c.name.startswith("safetensors") and not c.missing]
    bar = {state: min(c.median(state) for c in ways) if ways else None for state in ("cold", "hot")}
    lines = ["| loader | file, GB | cold, s | fastest | against safetensors | hot, s | fastest | against safetensors | memory, GB |",
             "|---|---|---|---|---|---|---|---|---|"]
    for c in bench.contenders:
        if c.missing:
            lines.append(f"| {c.name} | {c.missing} | | | | | | | |")
            continue
        cells = [c.name, f"{c.path.stat().st_size / 1e9:.3f}"]
        for state in ("cold", "hot"):
            ratio = f"{bar[state] / c.median(state):.2f} ×" if bar[state] else ""
            cells += [f"{c.median(state):.3f}", f"{min(c.seconds(state)):.3f}", ratio]
        lines.append("| " + " | ".join(cells + [f"{c.peak() / 1e9:.2f}"]) + " |")
    return lines, bar


def part_facts(bench):
    """How a part's bytes and time compare with its share of the whole."""
    whole, part = bench.find("nwc, stream at"), bench.find("nwc, stream, layers")
    one, all_ = part.runs["cold"][-1], whole.runs["cold"][-1]
    share = one["decoded_bytes"] / all_["decoded_bytes"]
    return {"share_of_decoded_bytes": share,
            "share_of_bytes_read": one["bytes_read"] / all_["bytes_read"],
            "share_of_bytes_read_without_index":
                (one["bytes_read"] - one["index_bytes"]) / (all_["bytes_read"] - all_["index_bytes"]),
            "share_of_cold_seconds": part.median("cold") / whole.median("cold"),
            "share_of_hot_seconds": part.median("hot") / whole.median("hot")}


def markdown(bench, arguments, load_average):
    lines, bar = table(bench)
    facts = part_facts(bench)
    stream = bench.find("nwc, stream at")
    head = [f"Machine: {machine()}; load average of the last minute {load_average[0]:.1f} before, "
            f"{os.getloadavg()[0]:.1f} after. Input: {bench.layers} layers tiled from "
            f"{arguments.checkpoint.name}, {bench.source.stat().st_size / 1e9:.3f} GB of bfloat16. Command:",
            f"`tests/bench/load.py build/bin models/{arguments.checkpoint.name} --work WORK --peers VENV "
            f"--rounds {arguments.rounds}`.", "",
            f"Medians of {arguments.rounds} loads, a process each, loaders in turn. Cold: the file's pages dropped "
            "before each load, at most 1 % left by fincore. Time from opening to the last tensor in memory, without "
            "the start of Python and its imports; memory is the process's peak, for Python beyond its imports, with "
            "mapped pages. 'Against safetensors': against the fastest of its three ways.", ""]
    tail = ["", f"nwc reads cold files with: {stream.runs['cold'][-1]['io']}; hot ones: {stream.runs['hot'][-1]['io']}; "
            f"{stream.runs['cold'][-1]['threads']} threads, {stream.runs['cold'][-1]['simd']}.", "",
            f"A {PARTS}th of the layers holds {100 * facts['share_of_decoded_bytes']:.2f} % of the decoded bytes; loading "
            f"it reads {100 * facts['share_of_bytes_read']:.2f} % of what the whole load reads "
            f"({100 * facts['share_of_bytes_read_without_index']:.2f} % without the index) and takes "
            f"{100 * facts['share_of_cold_seconds']:.2f} % of its time cold, "
            f"{100 * facts['share_of_hot_seconds']:.2f} % hot."]
    return "\n".join(head + lines + tail) + "\n"


def report_json(bench, arguments, load_average):
    return json.dumps({
        "machine": machine(), "rounds": arguments.rounds, "load_average_before": load_average,
        "load_average_after": os.getloadavg(), "date": time.strftime("%Y-%m-%d"), "part": part_facts(bench),
        "contenders": [{"name": c.name, "file_bytes": c.path.stat().st_size, "cold": c.runs["cold"], "hot": c.runs["hot"]}
                       if not c.missing else {"name": c.name, "missing": c.missing} for c in bench.contenders]},
        indent=1) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("checkpoint", type=pathlib.Path, help="a small model to repeat the layers of")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder on the disk to measure")
    parser.add_argument("--peers", type=pathlib.Path, help="VENV of install_peers.sh")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-o", "--output", type=pathlib.Path, help="writes OUTPUT.json and OUTPUT.md")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    bench.add_all()
    load_average = os.getloadavg()
    bench.measure(arguments.rounds)
    text = markdown(bench, arguments, load_average)
    print(text, end="")
    if arguments.output:
        arguments.output.with_suffix(".md").write_text(text)
        arguments.output.with_suffix(".json").write_text(report_json(bench, arguments, load_average))


if __name__ == "__main__":
    main()
