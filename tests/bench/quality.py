#!/usr/bin/env python3
"""What packing does to a language model's answers, at which rate: the tables of results/quality.md.

    tests/bench/quality.py BIN MODEL CALIBRATION EVALUATION --work DIR [--codec NAME=FILE ...]
                           [--parts stream,nwc,ablation,recover] [--windows 24]
                           [--results FILE.md]

Calibrates MODEL on the text CALIBRATION once, packs it in all ways, and evaluates all files on the
text EVALUATION in one run of nwc-eval. What is in DIR already is kept, so a run that was stopped
goes on. --codec names codecs of nwc-train --arch nwc, e.g. wide-3.2=wide-3.2.safetensors.
"""
import argparse
import dataclasses
import json
import math
import pathlib
import re
import resource
import subprocess
import sys
import time

from machine import machine

# Each part of the coding on top of the ones before it.
ABLATION = [
    ("uniform scalar", ["--importance", "none", "--no-feedback", "--quantizer", "scalar",
                        "--lambda", "0"]),
    ("+ feedback", ["--importance", "none", "--quantizer", "scalar", "--lambda", "0"]),
    ("+ LDL steps", ["--importance", "ldl", "--quantizer", "scalar", "--lambda", "0"]),
    ("+ trellis of 8 states", ["--importance", "ldl", "--lambda", "0"]),
    ("+ rate-aware search", ["--importance", "ldl"]),
    ("+ gradients", ["--importance", "fisher"]),
    ("+ their correlations, errors fed along rows (the default)", []),
]
ABLATION_BITS = [3.0, 4.0]
AT_ONCE = 9  # files in one run of nwc-eval
STREAM_BITS = [2.25, 2.5, 3.0, 3.5, 4.0, 5.0]


@dataclasses.dataclass
class Version:
    row: str
    bits_asked: float | None
    path: pathlib.Path
    arguments: list[str]
    bits: float = math.nan  # of linear tensors, whole bytes
    seconds: float = math.nan
    memory: float = math.nan  # GB, peak
    result: dict = dataclasses.field(default_factory=dict)


def run(command: list[str], output: pathlib.Path | None = None) -> None:
    print("$ " + " ".join(map(str, command)), file=sys.stderr, flush=True)
    text = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE).stdout
    if output:
        output.write_bytes(text)


def pack(tools: argparse.Namespace, version: Version) -> None:
    report = version.path.with_suffix(".pack.json")
    if not (report.exists() and version.path.exists()):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        run([tools.bin / "nwc-pack", tools.model, "-o", version.path, "--force", "--quiet",
             "--json", *version.arguments], report)
        text = json.loads(report.read_text())
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        text["peak_memory_gb"] = peak / 1e6 if peak > before else None  # None: below an earlier one
        report.write_text(json.dumps(text))
    text = json.loads(report.read_text())
    version.bits = text["linear_bits_per_weight"]
    version.seconds = text["seconds"]


def evaluate(tools: argparse.Namespace, versions: list[Version]) -> None:
    cache = tools.work / f"evaluated-{tools.windows}.json"
    known = json.loads(cache.read_text()) if cache.exists() else {}
    missing = [v for v in versions if v.path.name not in known]
    for begin in range(0, len(missing), AT_ONCE):
        batch = missing[begin:begin + AT_ONCE]
        output = tools.work / "eval.json"
        packed = [word for v in batch for word in ("--packed", v.path)]
        run([tools.bin / "nwc-eval", "--model", tools.model, "--text", tools.evaluation,
             "--windows", tools.windows, "--json", *packed], output)
        found = json.loads(output.read_text())
        for v, result in zip(batch, found if isinstance(found, list) else [found]):
            known[v.path.name] = result
        cache.write_text(json.dumps(known, indent=1))
    for v in versions:
        v.result = known[v.path.name]


def bits_at(curve: list[Version], kl: float) -> float | None:
    """Bits of a curve at a KL, log KL taken as linear in bits between neighbouring points."""
    points = sorted((v.bits, math.log(v.result["kl"])) for v in curve)
    for (b0, k0), (b1, k1) in zip(points, points[1:]):
        if k1 <= math.log(kl) <= k0:
            return b0 + (b1 - b0) * (math.log(kl) - k0) / (k1 - k0)
    return None


def kl_at(curve: list[Version], bits: float) -> float | None:
    """KL of a curve at a rate; a little beyond its ends along the last piece. Six decibels a bit for a
    curve of one point."""
    near = [v for v in curve if abs(v.bits - bits) < 0.2]
    if not near:
        return None
    if len(curve) == 1:
        return near[0].result["kl"] * 4 ** (near[0].bits - bits)
    points = sorted((v.bits, math.log(v.result["kl"])) for v in curve)
    pieces = list(zip(points, points[1:]))
    piece = next((p for p in pieces if bits <= p[1][0]), pieces[-1])
    (b0, k0), (b1, k1) = piece
    return math.exp(k0 + (k1 - k0) * (bits - b0) / (b1 - b0))


def change(result: dict) -> str:
    return f"{100 * (result['perplexity'] / result['reference_perplexity'] - 1):+.2f} %"


def curve_table(versions: list[Version]) -> list[str]:
    lines = ["| file | bits a linear weight | KL, nats a token | perplexity | change | same first token "
             "| pack, s |", "|---|---|---|---|---|---|---|"]
    for v in versions:
        r = v.result
        lines.append(f"| {v.row} | {v.bits:.3f} | {r['kl']:.5f} | {r['perplexity']:.3f} | {change(r)} "
                     f"| {100 * r['top1_agreement']:.2f} % | {v.seconds:.0f} |")
    return lines


def net_bits(version: Version) -> float:
    """Bits a weight that the codec's net and tables take."""
    inspect = json.loads(version.path.with_suffix(".inspect.json").read_text())
    linear = sum(math.prod(t["shape"]) for t in inspect["tensors"] if t["linear"])
    return 8 * sum(c["bytes"] for c in inspect.get("neural_codecs", [])) / linear


def against_table(stream: list[Version], neural: list[Version]) -> list[str]:
    lines = ["| `nwc` codec | its bits | of these its net | KL | `stream` at that KL | fewer | fewer, net not "
             "counted |", "|---|---|---|---|---|---|---|"]
    for v in neural:
        same = bits_at(stream, v.result["kl"])
        net = net_bits(v)
        cells = (["-"] * 3 if same is None else
                 [f"{same:.3f}", f"**{v.bits - same:.3f}**", f"{v.bits - net - same:.3f}"])
        lines.append(f"| {v.row} | {v.bits:.3f} | {net:.3f} | {v.result['kl']:.5f} | "
                     + " | ".join(cells) + " |")
    return lines


def ablation_table(rows: list[tuple[str, list[Version]]]) -> list[str]:
    lines = ["| coding | " + " | ".join(f"KL at {b:.1f} bits" for b in ABLATION_BITS) + " |",
             "|---" * (1 + len(ABLATION_BITS)) + "|"]
    for name, curve in rows:
        found = [kl_at(curve, b) for b in ABLATION_BITS]
        lines.append(f"| {name} | " + " | ".join("-" if kl is None else f"{kl:.5f}" for kl in found)
                     + " |")
    return lines


def command() -> str:
    """This run's command line, files by their last names."""
    short = [re.sub(r"[^\s=]*/", "", word) for word in sys.argv[1:]]
    return " ".join(["tests/bench/quality.py", *short])


def collect(tools: argparse.Namespace) -> list[Version]:
    """Every version to pack."""
    statistics = tools.work / "statistics.safetensors"
    with_statistics = ["--stats", str(statistics)]
    versions = [Version(f"stream {b}", b, tools.work / f"stream-{b}.nwc",
                        ["--bits", str(b), *with_statistics]) for b in tools.stream_bits]
    for text in tools.codec if "nwc" in tools.parts else []:
        name, _, file = text.partition("=")
        versions.append(Version(name, None, tools.work / f"nwc-{name}.nwc",
                                ["--profile", "nwc", "--codec", file, *with_statistics]))
    for i, (name, switches) in enumerate(ABLATION[:-1] if "ablation" in tools.parts else []):
        versions += [Version(name, b, tools.work / f"ablation-{i}-{b}.nwc",
                             ["--bits", str(b), *switches, *with_statistics])
                     for b in ABLATION_BITS]
    if "recover" in tools.parts:
        versions += [Version("+ recovery", b, tools.work / f"recover-{b}.nwc",
                             ["--bits", str(b), *with_statistics, "--recover", "--recover-text",
                              str(tools.calibration)])
                     for b in tools.recover_bits]
    if not statistics.exists():
        begun = time.monotonic()
        run([tools.bin / "nwc-pack", tools.model, "-o", tools.work / "calibrated.nwc", "--force",
             "--quiet", "--calibration", tools.calibration, "--calibration-windows",
             tools.calibration_windows, "--stats-out", statistics])
        (tools.work / "calibration.json").write_text(json.dumps(
            {"seconds_with_packing": time.monotonic() - begun,
             "peak_memory_gb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6}))
    return versions


def report(tools: argparse.Namespace, versions: list[Version]) -> str:
    named = lambda row: [v for v in versions if v.row == row]
    stream = [v for v in versions if v.row.startswith("stream ")]
    neural = [v for v in versions if v.path.name.startswith("nwc-")]
    ablation = [(name, named(name)) for name, _ in ABLATION[:-1]] + [(ABLATION[-1][0], stream)]
    if "recover" in tools.parts:
        ablation.append(("+ recovery", named("+ recovery")))
    first = stream[0].result
    calibration = json.loads((tools.work / "calibration.json").read_text())
    lines = [f"# {tools.model.name}: answers at a rate", "",
             f"Printed by `{command()}` on {machine()}.", "",
             f"Calibrated on {tools.calibration.name} ({tools.calibration_windows} windows of 1024 tokens), "
             f"evaluated on {tools.evaluation.name}: {tools.windows} windows, {first['tokens']} tokens, perplexity of the original "
             f"{first['reference_perplexity']:.3f}. Bits count every byte of the linear tensors, side information, "
             "tables and nets included.", "",
             f"Calibration with a pack: {calibration['seconds_with_packing']:.0f} s, peak memory "
             f"{calibration['peak_memory_gb']:.1f} GB.", "",
             "## `stream`, all switched on", "", *curve_table(stream), ""]
    if neural:
        lines += ["## `nwc`, as published", "", *curve_table(neural), "",
                  "## `stream` against `nwc` at equal KL", "", *against_table(stream, neural), ""]
    if "ablation" not in tools.parts:
        return "\n".join(lines)
    lines += ["## What each part gains", "",
              "KL in nats a token, interpolated to the rate (log KL linear in bits).", "",
              *ablation_table(ablation), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bin", "model", "calibration", "evaluation"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--codec", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--parts", default="stream,nwc,ablation",
                        help="of stream, nwc, ablation, recover; stream is always there")
    parser.add_argument("--windows", type=int, default=24, help="of the evaluation")
    parser.add_argument("--calibration-windows", type=int, default=32)
    parser.add_argument("--stream-bits", type=float, nargs="+", default=STREAM_BITS)
    parser.add_argument("--recover-bits", type=float, nargs="+", default=ABLATION_BITS)
    parser.add_argument("--results", type=pathlib.Path)
    tools = parser.parse_args()
    tools.work.mkdir(parents=True, exist_ok=True)
    versions = collect(tools)
    for version in versions:
        pack(tools, version)
        if version.path.name.startswith("nwc-"):
            run([tools.bin / "nwc", "inspect", version.path, "--json"],
                version.path.with_suffix(".inspect.json"))
    evaluate(tools, versions)
    text = report(tools, versions)
    print(text)
    if tools.results:
        tools.results.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
