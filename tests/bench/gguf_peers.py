#!/usr/bin/env python3
"""What GGUF's quantisation types do to a model's answers, at which rate: the table of results/gguf.md.

    GGML/venv/bin/python tests/bench/gguf_peers.py BIN MODEL STATISTICS EVALUATION --ggml GGML
                         --work DIR [--windows 24] [--packed FILE.nwc ...] [--results FILE.md]

GGML is the folder of install_ggml.sh, STATISTICS a file of nwc-pack --stats-out: ggml's importance of a column is
the mean square of its input, as llama-imatrix measures it. Quantises the linear layers of MODEL (one
model.safetensors) with each type, restores them in their own dtype, and evaluates all that in one run of nwc-eval,
beside the containers given.
"""
import argparse
import ctypes
import json
import pathlib
import shutil
import struct
import subprocess

import numpy as np
from gguf import GGMLQuantizationType as Type, quants

from machine import machine

TYPES = ["Q3_K", "IQ4_NL", "Q4_0", "Q4_K", "Q5_0", "Q5_K", "Q6_K", "Q8_0"]
# Rows whose length is no multiple of 256 get these, as in llama-quantize.
SHORT_ROWS = {"Q3_K": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
SUPERBLOCK = 256
FLOATS = ctypes.POINTER(ctypes.c_float)


class Safetensors:
    def __init__(self, path):
        (size,) = struct.unpack("<Q", path.open("rb").read(8))
        with path.open("rb") as file:
            file.seek(8)
            self.header = json.loads(file.read(size))
        self.metadata = self.header.pop("__metadata__", {})
        self.data = np.memmap(path, np.uint8, "r", 8 + size)

    def bytes_of(self, name):
        begin, end = self.header[name]["data_offsets"]
        return self.data[begin:end]

    def floats(self, name):
        entry, data = self.header[name], self.bytes_of(name)
        if entry["dtype"] == "BF16":
            values = (data.view("<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = data.view({"F16": "<f2", "F32": "<f4"}[entry["dtype"]]).astype(np.float32)
        return values.reshape(entry["shape"])


def encode(dtype, values):
    if dtype == "BF16":
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return values.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()


class Ggml:
    def __init__(self, folder):
        self.library = ctypes.CDLL(str(folder / "libggml-base.so"))
        self.library.ggml_quantize_chunk.restype = ctypes.c_size_t
        self.library.ggml_quantize_chunk.argtypes = [
            ctypes.c_int, FLOATS, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64, FLOATS]

    def restored(self, kind, weights, importance):
        """The weights after quantisation, and its bytes."""
        rows, columns = weights.shape
        if columns % SUPERBLOCK != 0:
            kind = SHORT_ROWS.get(kind, kind)
        packed = np.empty(4 * weights.size, np.uint8)
        size = self.library.ggml_quantize_chunk(
            int(Type[kind]), weights.ctypes.data_as(FLOATS), packed.ctypes.data, 0, rows, columns,
            importance.ctypes.data_as(FLOATS))
        restored = quants.dequantize(packed[:size].reshape(rows, -1), Type[kind])
        return restored.reshape(weights.shape), size


def importances(path):
    """Mean square of every input, by the weight's name."""
    file = Safetensors(path)
    end = ".input_moment"
    own = {name[:-len(end)]: np.ascontiguousarray(np.diagonal(file.floats(name)))
           for name in file.header if name.endswith(end)}
    shared = {key.removeprefix("input_of."): own[value] for key, value in file.metadata.items()
              if key.startswith("input_of.")}
    return own | shared


def write_model(source, target, model, tensors):
    """`tensors`: bytes by name."""
    target.mkdir(exist_ok=True)
    for file in model.iterdir():
        if file.is_file() and file.suffix != ".safetensors":
            shutil.copy(file, target)
    header, offset = {"__metadata__": source.metadata}, 0
    for name, entry in source.header.items():
        header[name] = {**entry, "data_offsets": [offset, offset + len(tensors[name])]}
        offset += len(tensors[name])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (target / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in source.header:
            file.write(tensors[name])


def quantised(tools, kind):
    """The model as the type leaves it, packed without loss; its bits a linear weight beside it."""
    container, facts = tools.work / f"{kind}.nwc", tools.work / f"{kind}.json"
    if container.exists() and facts.exists():
        return container, json.loads(facts.read_text())
    source, ggml = Safetensors(tools.model / "model.safetensors"), Ggml(tools.ggml)
    importance = importances(tools.statistics)
    size = weights = 0
    tensors = {}
    for name, entry in source.header.items():
        if name not in importance:
            tensors[name] = source.bytes_of(name).tobytes()
            continue
        values, bytes_ = ggml.restored(kind, source.floats(name), importance[name])
        tensors[name] = encode(entry["dtype"], values)
        size, weights = size + bytes_, weights + values.size
    folder = tools.work / kind
    write_model(source, folder, tools.model, tensors)
    subprocess.run([tools.bin / "nwc-pack", folder, "-o", container, "--profile", "exact", "--force", "-q"], check=True)
    shutil.rmtree(folder)
    facts.write_text(json.dumps({"bits": 8 * size / weights, "weights": weights}))
    return container, json.loads(facts.read_text())


def row(name, bits, result):
    change = 100 * (result["perplexity"] / result["reference_perplexity"] - 1)
    return (f"| {name} | {bits:.3f} | {result['kl']:.5f} | {result['perplexity']:.3f} | {change:+.2f} % "
            f"| {100 * result['top1_agreement']:.2f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bin", "model", "statistics", "evaluation"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--ggml", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--types", nargs="+", choices=TYPES, default=TYPES)
    parser.add_argument("--packed", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--results", type=pathlib.Path)
    tools = parser.parse_args()
    tools.work.mkdir(parents=True, exist_ok=True)
    made = [(kind, *quantised(tools, kind)) for kind in tools.types]
    files = [path for _, path, _ in made] + tools.packed
    words = [word for file in files for word in ("--packed", file)]
    results = json.loads(subprocess.run(
        [tools.bin / "nwc-eval", "--model", tools.model, "--text", tools.evaluation, "--windows", str(tools.windows),
         "--json", *words], check=True, stdout=subprocess.PIPE).stdout)
    lines = [f"# {tools.model.name}: GGUF's types", "",
             f"Printed by `tests/bench/gguf_peers.py` on {machine()}, {tools.windows} windows of {tools.evaluation.name}, "
             f"{results[0]['tokens']} tokens, perplexity of the original {results[0]['reference_perplexity']:.3f}. Linear "
             "layers alone are quantised, by ggml with the inputs' mean squares as importance; rows that are no multiple of "
             f"{SUPERBLOCK} long get the type that llama-quantize gives them.", "",
             "| type | bits a linear weight | KL, nats a token | perplexity | change | same first token |",
             "|---|---|---|---|---|---|"]
    for (kind, _, facts), result in zip(made, results):
        lines.append(row(kind, facts["bits"], result))
    for path, result in zip(tools.packed, results[len(made):]):
        lines.append(row(f"nwc, {path.name}", result["linear_bits_per_weight"], result))
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if tools.results:
        tools.results.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
