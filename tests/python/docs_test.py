#!/usr/bin/env python3
"""Runs what docs/python.md and docs/c.md show.

    tests/python/docs_test.py BIN_DIR

Needs NumPy, nwc-pack and a C compiler.
"""
import contextlib
import io
import os
import re
import subprocess
import unittest

import numpy as np

from package_support import BINARIES, GOLDEN, ROOT, PackageCase, main


def blocks(page, language):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


class Docs(PackageCase):
    def setUp(self):
        super().setUp()
        self.packed({f"layers.{i}.{c}.weight": np.ones((8, 8), np.float32)
                     for i in range(2) for c in "ab"}).rename(self.folder / "model.nwc")
        (self.folder / "damaged.nwc").write_bytes((GOLDEN / "invalid" / "R20_raw.nwc").read_bytes())
        before = os.getcwd()
        os.chdir(self.folder)
        self.addCleanup(os.chdir, before)

    def test_python(self):
        names = {}
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            for block in blocks("python.md", "python"):
                exec(compile(block, "docs/python.md", "exec"), names)
        self.assertIn("w 1 ", printed.getvalue())
        self.assertIn("layers.1.b.weight (8, 8)", printed.getvalue())

    def test_c(self):
        (self.folder / "main.c").write_text(blocks("c.md", "c")[0])
        library = BINARIES.parent / "lib"
        subprocess.run(["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{ROOT}",
                        "main.c", f"-L{library}", "-lnwc", "-o", "main"], check=True)
        printed = subprocess.run(["./main"], check=True, capture_output=True, text=True).stdout
        self.assertEqual(printed.count("256 bytes"), 4)


if __name__ == "__main__":
    main()
