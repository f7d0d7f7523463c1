#!/usr/bin/env python3
"""Takes the pictures of the README out of a report page.

    build/bin/nwc inspect model.nwc --html report.html
    tests/report/pictures.py report.html docs/pictures

Writes bits_by_layer.svg and size_breakdown.svg, which need nothing else: the page's drawings with
its style sheet for them. What shows only under a pointer is left out.
"""
import argparse
import pathlib
import xml.etree.ElementTree as ElementTree

SVG = "http://www.w3.org/2000/svg"
PICTURES = {"bits-map": "bits_by_layer.svg", "size-bar": "size_breakdown.svg"}
MARGIN = 8  # units of the drawing
MOST_BYTES = 60_000


def without_tips(element):
    """Drops the titles below the drawing's own."""
    for child in list(element):
        for title in child.findall("title"):
            child.remove(title)
        without_tips(child)


def picture(svg, style):
    width, height = map(float, svg.get("viewBox").split()[2:])
    without_tips(svg)
    box = (-MARGIN, -MARGIN, width + 2 * MARGIN, height + 2 * MARGIN)
    root = ElementTree.Element("svg", {
        "xmlns": SVG, "viewBox": " ".join(f"{v:g}" for v in box), "width": f"{box[2]:g}", "height": f"{box[3]:g}",
        "role": "img", "aria-labelledby": svg.get("aria-labelledby")})
    head = [child for child in svg if child.tag in ("title", "desc")]
    paper = ElementTree.Element("rect", dict(zip(("x", "y", "width", "height"), (f"{v:g}" for v in box))),
                                **{"class": "paper"})
    root.extend([*head, style, paper, *(child for child in svg if child not in head)])
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    page = ElementTree.parse(arguments.page)
    style = page.find(".//style[@id='chart-style']")
    style.attrib.clear()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, file in PICTURES.items():
        text = picture(page.find(f".//svg[@id='{name}']"), style)
        if len(text.encode()) > MOST_BYTES:
            parser.error(f"{file} would have {len(text.encode())} bytes, expected {MOST_BYTES} at most: "
                         "choose a smaller model")
        (arguments.folder / file).write_text(text, encoding="utf-8")
        print(arguments.folder / file)


if __name__ == "__main__":
    main()
