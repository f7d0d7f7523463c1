#!/usr/bin/env python3
"""What pip installs: a wheel for every Python that carries the library, with types.

    tests/python/package_test.py BIN_DIR

The wheel is built where scikit-build-core is installed; its types are checked where mypy is.
"""
import importlib.util
import inspect
import os
import subprocess
import sys
import unittest
import zipfile

import nwc
from package_support import GOLDEN, ROOT, PackageCase, main

PACKAGE = ROOT / "loader" / "python"


def installed(module):
    return importlib.util.find_spec(module) is not None


class Package(PackageCase):
    def test_every_public_name_has_a_docstring(self):
        for name in nwc.__all__:
            value = getattr(nwc, name)
            if name == "__version__":
                continue
            self.assertTrue(inspect.getdoc(value), name)
            for method, function in inspect.getmembers(value, inspect.isfunction):
                if not method.startswith("_"):
                    self.assertTrue(inspect.getdoc(function) or method == "add_note", (name, method))

    @unittest.skipUnless(installed("mypy") and installed("typing_extensions"), "mypy is not installed")
    def test_types(self):
        (self.folder / "user.py").write_text(
            "import nwc\n"
            "with nwc.safe_open('m', framework='np') as f:\n"
            "    reveal_type(f.get_slice('w')[0:3, ...])\n"
            "reveal_type(nwc.load_file('m', 'pt'))\n"
            "for name, tensor in nwc.stream('m', layers=range(3), threads=2): reveal_type(tensor)\n"
            "nwc.load_file('m', speed=3)\n")
        environment = {**os.environ, "MYPYPATH": str(PACKAGE)}
        result = subprocess.run([sys.executable, "-m", "mypy", "--ignore-missing-imports",
                                 "--cache-dir", self.folder / "cache", "user.py"],
                                cwd=self.folder, env=environment, capture_output=True, text=True)
        lines = result.stdout.splitlines()
        self.assertIn("ndarray", lines[0])
        self.assertIn("dict", lines[1])
        self.assertIn("ndarray", lines[2])
        self.assertTrue(any("user.py:6: error" in line for line in lines), lines)
        self.assertFalse(any("__init__.pyi" in line for line in lines), lines)

    @unittest.skipUnless(installed("scikit_build_core") and installed("pip"),
                         "scikit-build-core is not installed")
    def test_the_wheel_loads_on_its_own(self):
        environment = {name: value for name, value in os.environ.items()
                       if name not in ("PYTHONPATH", "LD_LIBRARY_PATH")}
        subprocess.run([sys.executable, "-m", "pip", "wheel", ROOT, "--no-deps",
                        "--no-build-isolation", "-w", self.folder, "-q"],
                       check=True, env=environment)
        wheel, = self.folder.glob("*.whl")
        self.assertRegex(wheel.name, r"^nwc-[0-9.]+-py3-none-linux_")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            archive.extractall(self.folder / "site")
        for name in ("nwc/libnwc.so.1", "nwc/py.typed", "nwc/__init__.pyi", "nwc/vllm.py"):
            self.assertIn(name, names)
        self.assertFalse([n for n in names if not n.startswith(("nwc/", "nwc-"))])
        points = next((self.folder / "site").glob("*.dist-info")) / "entry_points.txt"
        self.assertIn("[vllm.general_plugins]\nnwc = nwc.vllm:register",
                      points.read_text().replace("nwc=", "nwc = "))
        code = (f"import nwc; print(nwc.__file__, nwc._library.lib._name); "
                f"nwc.load_file({str(GOLDEN / 'valid' / 'many_tiles.nwc')!r})")
        printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True,
                                 text=True, env={**environment,
                                                 "PYTHONPATH": str(self.folder / "site")}).stdout
        self.assertEqual(printed.count(str(self.folder)), 2, printed)


if __name__ == "__main__":
    main()
