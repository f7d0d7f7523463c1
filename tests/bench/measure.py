#!/usr/bin/env python3
"""Measures what the README claims, with the tools a user has.

    tests/bench/measure.py BIN_DIR MODEL_DIR [-o REPORT.md]

MODEL_DIR is a Hugging Face folder with a float32 model.safetensors (models/minilm for the README).
Packs, compares, loads and fetches in a temporary folder; prints one Markdown table. Needs numpy.
"""
import argparse
import json
import math
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import numpy as np

from machine import machine


def run(*command):
    """Runs a tool; returns what it printed and the seconds it took."""
    begun = time.perf_counter()
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stderr}")
    return done.stdout, time.perf_counter() - begun


def run_json(*command):
    out, seconds = run(*command, "--json")
    return json.loads(out), seconds


def read_header(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(size)), 8 + size


def cast_to_bfloat16(source, target):
    """Copies a safetensors folder with every F32 tensor rounded to BF16."""
    shutil.copytree(source, target)
    header, begin = read_header(source / "model.safetensors")
    data = (source / "model.safetensors").read_bytes()
    metadata = header.pop("__metadata__", None)
    out, blobs, offset = {}, [], 0
    if metadata:
        out["__metadata__"] = metadata
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        first, last = entry["data_offsets"]
        blob = data[begin + first : begin + last]
        if entry["dtype"] == "F32":
            bits = np.frombuffer(blob, dtype="<u4")
            blob = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
            entry = dict(entry, dtype="BF16")
        out[name] = dict(entry, data_offsets=[offset, offset + len(blob)])
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(out).encode()
    text += b" " * (-len(text) % 8)
    (target / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def tensor_bytes(folder):
    """Each tensor's bytes, by name."""
    path = folder / "model.safetensors"
    header, begin = read_header(path)
    data = path.read_bytes()
    header.pop("__metadata__", None)
    return {n: data[begin + e["data_offsets"][0] : begin + e["data_offsets"][1]] for n, e in header.items()}


class Numbers:
    def __init__(self, binaries, model, work):
        self.nwc, self.nwc_pack = binaries / "nwc", binaries / "nwc-pack"
        self.model, self.work = model, work
        self.rows = []

    def add(self, what, value, target, command):
        self.rows.append((what, value, target, command))

    def stream(self, bits):
        packed = self.work / f"stream{bits}.nwc"
        _, seconds = run(self.nwc_pack, self.model, "-o", packed, "--bits", bits, "-q")
        inspected, _ = run_json(self.nwc, "inspect", packed)
        compared, _ = run_json(self.nwc, "diff", self.model, packed)
        rate = inspected["linear_bits_per_weight"]
        gap = rate - 0.5 * math.log2(1 / compared["row_normalized_mse"])
        target = "within 1 % of 4; gap <= 0.15; <= 60 s" if bits == 4 else ""
        self.add(f"stream --bits {bits}: linear bits a weight, gap to the Gaussian bound, pack seconds",
                 f"{rate:.4f}, {gap:.4f}, {seconds:.1f}", target, f"nwc-pack M --bits {bits}; nwc inspect; nwc diff")
        return packed, inspected

    def exact(self, folder, label, target):
        packed, back = self.work / f"{label}.nwc", self.work / f"{label}-back"
        run(self.nwc_pack, folder, "-o", packed, "--profile", "exact", "-q")
        run(self.nwc, "unpack", packed, "-o", back)
        same = tensor_bytes(folder) == tensor_bytes(back)
        ratio = packed.stat().st_size / (folder / "model.safetensors").stat().st_size
        self.add(f"exact, {label}: size of input, tensors byte-identical back", f"{ratio:.4f}, {same}", target,
                 "nwc-pack --profile exact; nwc unpack")

    def overhead(self, inspected):
        self.add("container overhead of the file", f"{100 * inspected['overhead_fraction']:.3f} %", "<= 0.2 %",
                 "nwc inspect")

    def decode(self, folder, bits):
        packed = self.work / f"decode{bits}.nwc"
        run(self.nwc_pack, folder, "-o", packed, "--bits", bits, "-q")
        bench, _ = run_json(self.nwc, "bench", packed)
        self.add(f"stream decode to bfloat16 at {bits} bits, one core, Gweights/s (median)",
                 f"{bench['decode_gweights_per_second_per_core']:.3f}", ">= 0.8" if bits == 4 else "", "nwc bench")
        self.add("share of hashing in a hot load", f"{100 * bench['hash_share_of_load']:.2f} %", "< 5 %", "nwc bench")
        return bench

    def fetch(self, packed, inspected):
        layer = [t for t in inspected["tensors"] if ".layer.2." in t["name"] or ".layers.2." in t["name"]]
        fetched, _ = run_json(self.nwc, "fetch", packed, "--layers", "2", "-o", self.work / "part.safetensors")
        share = (fetched["bytes_read"] - fetched["index_bytes"]) / sum(t["payload_bytes"] for t in layer)
        self.add("fetch of one layer: bytes read, index apart, over the layer's bytes", f"{share:.4f}", "<= 1.02",
                 "nwc fetch --layers 2")


def report(rows, model):
    lines = [f"Machine: {machine()}. Input: {model.name}. Command:",
             f"`tests/bench/measure.py build/bin {model}`.", "",
             "| what | measured | target | with |", "|---|---|---|---|"]
    lines += [f"| {what} | {value} | {target} | `{command}` |" for what, value, target, command in rows]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", type=pathlib.Path)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        numbers = Numbers(arguments.binaries, arguments.model, work)
        for bits in (3, 4, 5, 6):
            packed, inspected = numbers.stream(bits)
            if bits == 4:
                numbers.overhead(inspected)
                numbers.fetch(packed, inspected)
        numbers.exact(arguments.model, "float32", "<= 0.85, True")
        cast_to_bfloat16(arguments.model, work / "bf16")
        numbers.exact(work / "bf16", "bfloat16", "<= 0.68, True")
        for bits in (4, 5):
            numbers.decode(work / "bf16", bits)
        text = report(numbers.rows, arguments.model)
    print(text, end="")
    if arguments.output:
        arguments.output.write_text(text)


if __name__ == "__main__":
    main()
