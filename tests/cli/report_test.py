#!/usr/bin/env python3
"""Report pages: nwc inspect --html and nwc-pack --report.

    tests/cli/report_test.py BIN_DIR

BIN_DIR holds nwc and nwc-pack. Needs numpy.
"""
import json
import pathlib
import sys
import unittest
import xml.etree.ElementTree

from cli_support import CliCase, gaussian, layers_of

EVIL = "model.layers.1.\"><script>alert('x')</script>&amp;\u202e\x85.weight"


class Reports(CliCase):
    def setUp(self):
        super().setUp()
        tensors = layers_of(self.rng, 2)
        tensors[EVIL] = gaussian(self.rng, "F32", (64, 64))
        self.source = self.checkpoint(tensors)
        self.packed = self.path("m.nwc")
        self.page = self.path("page.html")

    def parse(self):
        """The page as XML, which knows no mistakes; and it refers to nothing."""
        text = self.page.read_text(encoding="utf-8")
        for part in ("http:", "https:", "<script", "<link", "\u202e", "\x85"):
            self.assertNotIn(part, text)
        self.assertLess(len(text), 200_000)
        return xml.etree.ElementTree.fromstring(text)

    def rows(self, root, caption):
        """Of the table with this caption's id: [[text of a cell]]."""
        table, = (t for t in root.iter("table") if t.find("caption").get("id") == caption)
        return [["".join(cell.itertext()) for cell in row] for row in table.find("tbody")]

    def ids(self, root):
        return [element.get("id") for element in root.iter() if element.get("id")]

    def test_inspect_writes_what_json_says(self):
        self.pack(self.source, self.packed, "--bits", 3)
        done = self.nwc("inspect", self.packed, "--html", self.page)
        self.assertEqual(done.stdout, f"{self.page}: written\n")
        root, facts = self.parse(), self.inspect(self.packed)
        totals = dict(self.rows(root, "totals"))
        self.assertEqual(int(totals["weights"].replace(",", "")), facts["weights"])
        self.assertEqual(totals["bits a weight, whole file"], f"{facts['bits_per_weight']:.4f}")
        self.assertEqual(totals["bits a weight, linear tensors with their codecs"],
                         f"{facts['linear_bits_per_weight']:.4f}")
        sizes = {row[0]: int(row[1].replace(",", "")) for row in self.rows(root, "size-table")}
        self.assertEqual(sizes.pop("all"), facts["file_bytes"])
        self.assertEqual(sum(sizes.values()), facts["file_bytes"])
        self.assertEqual(sizes["metadata files"], facts["metadata_bytes"])
        self.assertEqual(sizes["index"] + sizes["codec tables"], facts["index_bytes"])
        tensors = self.rows(root, "tensors")
        self.assertEqual([int(row[5].replace(",", "")) for row in tensors],
                         [t["bytes"] for t in facts["tensors"]])
        self.assertIn("\"><script>alert('x')</script>&amp;", next(r[0] for r in tensors if "alert" in r[0]))
        self.assertEqual(len(self.ids(root)), len(set(self.ids(root))))
        self.assertNotIn("rate-scatter", self.ids(root))

    def test_pages_are_the_same_every_time(self):
        self.pack(self.source, self.packed, "--profile", "exact")
        self.nwc("inspect", self.packed, "--html", self.page)
        first = self.page.read_bytes()
        self.nwc("inspect", self.packed, "--html", self.page, "--force")
        self.assertEqual(self.page.read_bytes(), first)

    def test_pack_tells_errors_and_times(self):
        done = self.run_program("nwc-pack", self.source, "-o", self.packed, "-q", "--json", "--report", self.page)
        report, root = json.loads(done.stdout), self.parse()
        self.assertIn("rate-scatter", self.ids(root))
        self.assertAlmostEqual(sum(s["seconds"] for s in report["stages"]), report["seconds"], places=3)
        stages = {row[0]: row[1] for row in self.rows(root, "stage-table")}
        for stage in report["stages"]:
            self.assertEqual(stages[stage["stage"]], f"{stage['seconds']:.3f}")
        for row, tensor in zip(self.rows(root, "tensors"), report["tensors"], strict=True):
            self.assertEqual(row[6] == "-", tensor["relative_mse"] == 0)

    def test_a_set_has_a_page(self):
        self.run_program("nwc-pack", self.source, "-o", self.packed, "-q", "--shard-size", "40kB",
                         "--report", self.page)
        packed = self.rows(self.parse(), "tensors")
        self.nwc("inspect", self.path("m.nwc.index.json"), "--html", self.page, "--force")
        self.assertEqual([row[:6] for row in packed], self.rows(self.parse(), "tensors"))

    def test_existing_pages_and_files_of_the_command_stay(self):
        self.pack(self.source, self.packed, "--profile", "raw")
        kept = self.packed.read_bytes()
        self.page.write_text("precious")
        self.nwc("inspect", self.packed, "--html", self.page, expect=2)
        self.run_program("nwc-pack", self.source, "-o", self.path("new.nwc"), "--report", self.page, expect=2)
        self.nwc("inspect", self.packed, "--html", self.packed, "--force", expect=2)
        self.nwc("inspect", self.packed, "--html", self.path("no/page.html"), expect=2)
        for report in (self.path("new.nwc"), next(pathlib.Path(self.source).glob("*.safetensors"))):
            self.run_program("nwc-pack", self.source, "-o", self.path("new.nwc"), "--report", report, "--force",
                             expect=2)
        self.run_program("nwc-pack", self.source, "--dry-run", "--report", self.path("r.html"), expect=2)
        self.nwc("inspect", self.packed, "--force", expect=2)  # of what?
        self.assertEqual(self.page.read_text(), "precious")
        self.assertEqual(self.packed.read_bytes(), kept)
        self.assertEqual({p.name for p in self.folder.iterdir()}, {"checkpoint", "m.nwc", "page.html"})


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    CliCase.binaries = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main()
