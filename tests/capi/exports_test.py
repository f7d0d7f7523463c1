#!/usr/bin/env python3
"""libnwc.so exports what nwc.h declares, under NWC_1, and nothing else.

    tests/capi/exports_test.py LIBRARY HEADER
"""
import re
import subprocess
import sys

library, header = sys.argv[1:]
text = re.sub(r"/\*.*?\*/", "", open(header, encoding="utf-8").read(), flags=re.S)
declared = set(re.findall(r"\b(nwc_\w+)\(", text))
symbols = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True,
                         text=True).stdout
exported = {line.split()[2] for line in symbols.splitlines() if line.split()[1] != "A"}
expected = {f"{name}@@NWC_1" for name in declared}
assert len(declared) > 30, declared
assert exported == expected, f"only in the library: {exported - expected}; " \
                             f"only in the header: {expected - exported}"
dynamic = subprocess.run(["readelf", "-d", library], check=True, capture_output=True, text=True).stdout
assert "[libnwc.so.1]" in dynamic, dynamic
