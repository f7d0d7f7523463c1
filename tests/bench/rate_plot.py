#!/usr/bin/env python3
"""Draws what a model's answers lose at which rate, from the tables in results/.

    tests/bench/rate_plot.py [OUTPUT.svg]     default: docs/pictures/rate_kl.svg
"""
import html
import math
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests/bench/results"
WIDTH, HEIGHT = 720, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 60
BITS = (2, 9)
KL = (1e-4, 1)
STYLE = """
text { font: 13px sans-serif; fill: #222 } .axis { stroke: #888; fill: none } .grid { stroke: #ddd }
.stream { stroke: #0b62ad; fill: #0b62ad } .nwc { stroke: #b1380f; fill: #b1380f }
.gguf { stroke: #207245; fill: #207245 } .scalar { stroke: #6b3fa0; fill: #6b3fa0 }
path { fill: none; stroke-width: 2 } .mark { stroke-width: 1.5 } text.key { stroke: none }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd } .axis { stroke: #999 } .grid { stroke: #444 }
  .stream { stroke: #6db5f5; fill: #6db5f5 } .nwc { stroke: #f2936f; fill: #f2936f }
  .gguf { stroke: #63c78f; fill: #63c78f } .scalar { stroke: #b795e6; fill: #b795e6 }
}"""


def rows_of(file, heading=None):
    """Cells of every table row of a results page, of one section only when asked."""
    text = (RESULTS / file).read_text(encoding="utf-8")
    if heading:
        text = text.split(heading, 1)[1].split("\n## ", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()
            if line.startswith("| ")]


def points(rows, wanted, bits_cell=1, kl_cell=2):
    """(name, bits, KL) of the rows whose first cell matches."""
    return [(row[0], float(row[bits_cell]), float(row[kl_cell])) for row in rows if re.search(wanted, row[0])]


def series():
    ablation = "smollm2_ablation.md"
    scalar = next(row for row in rows_of(ablation) if row[0] == "uniform scalar")
    return [
        ("stream", "stream", "circle", True, points(rows_of(ablation), r"^stream \d")),
        ("nwc", "nwc, the published codec, thin and wide", "square", False,
         points(rows_of("smollm2_quality.md", "## `nwc`, as published"), r"^(thin|wide)-")),
        ("gguf", "GGUF's types, with importance", "triangle", False, points(rows_of("smollm2_gguf.md"), r"^I?Q\d")),
        ("scalar", "uniform scalar quantisation, entropy-coded", "diamond", True,
         [("", 3.0, float(scalar[1])), ("", 4.0, float(scalar[2]))]),
    ]


def x_of(bits):
    return LEFT + (WIDTH - LEFT - RIGHT) * (bits - BITS[0]) / (BITS[1] - BITS[0])


def y_of(kl):
    low, high = (math.log10(k) for k in KL)
    return TOP + (HEIGHT - TOP - BOTTOM) * (high - math.log10(kl)) / (high - low)


def mark(kind, x, y):
    if kind == "circle":
        return f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
    corners = {"square": [(-5, -5), (5, -5), (5, 5), (-5, 5)], "triangle": [(0, -6), (6, 5), (-6, 5)],
               "diamond": [(0, -6), (6, 0), (0, 6), (-6, 0)]}[kind]
    return '<polygon class="mark" points="%s"/>' % " ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)


def axes():
    parts = []
    for bits in range(BITS[0], BITS[1] + 1):
        x = x_of(bits)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>'
                     f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{bits}</text>')
    for exponent in range(-4, 1):
        y = y_of(10 ** exponent)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>'
                     f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{10.0 ** exponent:g}</text>')
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>'
                 f'<text x="{(LEFT + WIDTH) / 2}" y="{HEIGHT - 15}" text-anchor="middle">bits a linear weight, every '
                 f'byte counted</text><text transform="translate(16 {HEIGHT / 2 - 20}) rotate(-90)" '
                 'text-anchor="middle">KL, nats a token</text>')
    return parts


def draw():
    parts = axes()
    for number, (name, title, kind, joined, found) in enumerate(series()):
        parts.append(f'<g class="{name}">')
        places = [(x_of(bits), y_of(kl)) for _, bits, kl in sorted(found, key=lambda p: p[1])]
        if joined:
            parts.append('<path d="M%s"/>' % "L".join(f"{x:.1f} {y:.1f}" for x, y in places))
        parts += [mark(kind, x, y) for x, y in places]
        if name == "gguf":
            # Above and beside in turn: neighbours may be close.
            parts += [f'<text class="key" x="{x_of(bits) + 9 * (i % 2):.1f}" y="{y_of(kl) - 11 + 15 * (i % 2):.1f}" '
                      f'text-anchor="{("middle", "start")[i % 2]}">{html.escape(label)}</text>'
                      for i, (label, bits, kl) in enumerate(found)]
        y = TOP + 18 + 22 * number
        parts.append(mark(kind, WIDTH - 330, y - 4) + f'<text class="key" x="{WIDTH - 315}" y="{y}">{html.escape(title)}</text></g>')
    return "\n".join(parts)


def main():
    output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs/pictures/rate_kl.svg"
    title = "What SmolLM2-135M loses at which rate"
    output.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-labelledby="t"><title id="t">{title}</title><style>{STYLE}</style>\n{draw()}\n</svg>\n',
        encoding="utf-8")


if __name__ == "__main__":
    main()
