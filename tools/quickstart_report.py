#!/usr/bin/env python3
"""Prints the table that tools/quickstart.sh ends with.

    tools/quickstart_report.py FOLDER LABEL...

FOLDER holds what the programs wrote with --json: LABEL.pack.json, LABEL.inspect.json,
LABEL.diff.json and LABEL.bench.json for each label, and safetensors.json of read_safetensors.py.
Exit status 1 when a tensor that should have come back unchanged did not.
"""
import json
import pathlib
import platform
import statistics
import sys

HEADINGS = ["file", "bytes", "bits/weight\n(all)", "bits/weight\n(linear)",
            "SNR dB\n(linear, median)", "pack s", "load s\n(hot)"]
DTYPE_BITS = {"F64": 64, "F32": 32, "F16": 16, "BF16": 16}  # of linear tensors


def read_json(folder: pathlib.Path, name: str):
    path = folder / name
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"quickstart_report.py: {path}: {error}")


def linear_names(pack: dict) -> set[str]:
    return {tensor["name"] for tensor in pack["tensors"] if tensor["linear"]}


def decimal(value: float | None, places: int) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def median_snr(pack: dict, diff: dict) -> str:
    """Over the linear tensors that changed; 'exact' when none did."""
    linear = linear_names(pack)
    changed = [tensor for tensor in diff["tensors"]
               if tensor["name"] in linear and not tensor["identical"]]
    values = [tensor["snr_db"] for tensor in changed if tensor["snr_db"] is not None]
    if not changed:
        return "exact"
    return decimal(statistics.median(values) if values else None, 2)


def changed_without_leave(pack: dict, diff: dict) -> list[str]:
    """Tensors packed without loss that came back different, or did not come back."""
    lossless = {tensor["name"] for tensor in pack["tensors"] if tensor["profile"] != "stream"}
    identical = {tensor["name"] for tensor in diff["tensors"] if tensor["identical"]}
    return sorted(lossless - identical)


def safetensors_row(folder: pathlib.Path, inspect: dict, pack: dict) -> list[str]:
    plain = read_json(folder, "safetensors.json")
    linear = [tensor for tensor in pack["tensors"] if tensor["linear"]]
    linear_bits = sum(DTYPE_BITS[tensor["dtype"]] * tensor["weights"] for tensor in linear)
    linear_weights = sum(tensor["weights"] for tensor in linear)
    return ["safetensors, plain reading", f"{plain['file_bytes']:,}",
            decimal(8 * plain["file_bytes"] / inspect["weights"], 3),
            decimal(linear_bits / linear_weights if linear_weights else None, 3),
            "exact", "-", decimal(plain["hot_seconds"], 3)]


def packed_row(label: str, pack: dict, inspect: dict, diff: dict, bench: dict) -> list[str]:
    return [label, f"{inspect['file_bytes']:,}", decimal(inspect["bits_per_weight"], 3),
            decimal(inspect["linear_bits_per_weight"], 3), median_snr(pack, diff),
            decimal(pack["seconds"], 1), decimal(bench["load_hot_seconds"], 3)]


def align(rows: list[list[str]]) -> str:
    """The first column to the left, figures to the right; a cell may have two lines."""
    lines = []
    for row in rows:
        cells = [cell.split("\n") for cell in row]
        height = max(map(len, cells))
        lines += zip(*([""] * (height - len(cell)) + cell for cell in cells))
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = ["  ".join(cell.rjust(width) if number else cell.ljust(width)
                      for number, (cell, width) in enumerate(zip(line, widths))).rstrip()
            for line in lines]
    text.insert(max(heading.count("\n") for heading in HEADINGS) + 1, "-" * max(map(len, text)))
    return "\n".join(text)


def processor() -> str:
    try:
        for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def main() -> int:
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    folder, labels = pathlib.Path(sys.argv[1]), sys.argv[2:]
    rows, damaged = [HEADINGS], []
    for label in labels:
        pack, inspect, diff, bench = (read_json(folder, f"{label}.{kind}.json")
                                      for kind in ("pack", "inspect", "diff", "bench"))
        if len(rows) == 1:
            rows.append(safetensors_row(folder, inspect, pack))
        rows.append(packed_row(label, pack, inspect, diff, bench))
        damaged += [f"{label}: {name}" for name in changed_without_leave(pack, diff)]
    print(f"{inspect['weights']:,} weights; {processor()}")
    print()
    print(align(rows))
    print()
    for name in damaged:
        print(f"NOT IDENTICAL after unpacking: {name}")
    if not damaged:
        print("Every tensor packed without loss came back byte for byte.")
    return 1 if damaged else 0


if __name__ == "__main__":
    sys.exit(main())
