#!/usr/bin/env python3
"""Writes the two English texts that models are calibrated and evaluated on.

    tools/get_text.py OUT

OUT/calibration.txt  Jane Austen, Emma (0.9 MB)
OUT/evaluation.txt   Jane Austen, Pride and Prejudice (0.7 MB); never calibrate on it.

Both novels are in the public domain. They come from the Debian package r-cran-janeaustenr (1.6 MB),
whose data files are read here without R. Needs apt-get with Debian's package lists, and dpkg-deb;
nothing is installed, and no right beyond that of writing OUT is needed.

Models have most likely seen both novels in training: figures on them compare versions of the same
weights, and say nothing about one model against another.

The package and both texts are checked against the SHA-256 written below. Each text appears whole or
not at all, and one that is already right is left alone.
"""
import argparse
import hashlib
import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import zlib

PACKAGE, PACKAGE_VERSION = "r-cran-janeaustenr", "1.0.0-1"
PACKAGE_SHA256 = "df6bddf211906d1ff404f8ff662c21b34e6660e7f54a311084e749050c019c95"
DATABASE = "usr/lib/R/site-library/janeaustenr/data/Rdata"  # inside the package: .rdx and .rdb
TEXTS = {  # file: (variable of the database, SHA-256 of the file)
    "calibration.txt":
        ("emma", "5b404118094aeb42d3237cb74ca4b12a8896f899262b4c333fbec9a536335b96"),
    "evaluation.txt":
        ("prideprejudice", "95148678caa41bb065ff0ed4609739ee25a7be1a4912c385f9d9b06edd263faf"),
}
NOVEL_END = "\n\n\n"  # two empty lines

# Types of items in R's serialisation ("R Internals", section 1.8), as far as the package has them.
R_SYMBOL, R_PAIR, R_STRING = 1, 2, 9
R_BOOLEANS, R_INTEGERS, R_STRINGS, R_LIST = 10, 13, 16, 19
R_END, R_REFERENCE = 254, 255
R_HAS_ATTRIBUTES, R_HAS_TAG = 1 << 9, 1 << 10


class TextError(Exception):
    """What went wrong, in words for the person who runs the script."""


class RReader:
    """Reads one value of R from its serialisation, format "X" (big-endian), versions 2 and 3.

    Vectors become lists, a list with names becomes a dict. Raises TextError on any other type and
    struct.error where the bytes end too early.
    """

    def __init__(self, data: bytes):
        self._data, self._at = data, 2
        self._symbols = []
        if data[:2] != b"X\n":
            raise TextError("not a serialised R value in binary form")
        version, _, _ = self._integers(3)
        if version == 3:
            self._take(self._integer())  # the name of the native encoding
        elif version != 2:
            raise TextError(f"serialised R value of version {version}, expected 2 or 3")

    def value(self):
        flags = self._integer()
        kind = flags & 0xFF
        if kind == R_END:
            return None
        if kind == R_REFERENCE:
            return self._symbols[(flags >> 8) - 1]
        if kind == R_SYMBOL:
            self._symbols.append(self.value())
            return self._symbols[-1]
        if kind == R_PAIR:
            return self._pairs(flags)
        if kind == R_STRING:
            length = self._integer()
            return "" if length < 0 else self._take(length).decode()
        values = self._vector(kind)
        attributes = self.value() if flags & R_HAS_ATTRIBUTES else {}
        return dict(zip(attributes["names"], values)) if "names" in attributes else values

    def _vector(self, kind: int) -> list:
        length = self._integer()
        if kind in (R_BOOLEANS, R_INTEGERS):
            return self._integers(length)
        if kind in (R_STRINGS, R_LIST):
            return [self.value() for _ in range(length)]
        raise TextError(f"serialised R value of type {kind}, which this script does not read")

    def _pairs(self, flags: int) -> dict:
        """A linked list of tagged values, such as attributes are; `flags` are those of its head."""
        pairs = {}
        while flags & 0xFF == R_PAIR:
            if flags & R_HAS_ATTRIBUTES or not flags & R_HAS_TAG:
                raise TextError("serialised R list with attributes or without tags")
            tag = self.value()
            pairs[tag] = self.value()
            flags = self._integer()
        return pairs

    def _integer(self) -> int:
        return self._integers(1)[0]

    def _integers(self, count: int) -> list[int]:
        return list(struct.unpack(f">{count}i", self._take(4 * count)))

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at:self._at + size]
        self._at += size
        return taken


def read_variable(database: pathlib.Path, name: str) -> list[str]:
    """A variable of R's lazy-load database: `.rdx` says where in `.rdb` each one lies."""
    index = RReader(zlib.decompress(database.with_suffix(".rdx").read_bytes(), wbits=31)).value()
    offset, size = index["variables"][name]
    packed = database.with_suffix(".rdb").read_bytes()[offset:offset + size]
    # Four bytes of uncompressed size, then the zlib stream.
    return RReader(zlib.decompress(packed[4:])).value()


def sha256_of(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_file(path: pathlib.Path, expected: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise TextError(f"{path.name}: SHA-256 is {found}, expected {expected}")


def run_quietly(command: list[str], folder: pathlib.Path, advice: str) -> None:
    """Runs `command` in `folder`; its output is shown only when it fails, with `advice`."""
    result = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True)
    if result.returncode != 0:
        raise TextError(f"{' '.join(command)} failed:\n{result.stdout.strip()[-2000:]}\n{advice}")


def bring_package(scratch: pathlib.Path) -> pathlib.Path:
    """Downloads the package and unpacks it; returns the folder with its files."""
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise TextError(f"the texts come from the Debian package {PACKAGE}, which needs the "
                            f"program {program}; run this script on Debian and copy the texts")
    print(f"  downloading {PACKAGE} {PACKAGE_VERSION}", flush=True)
    run_quietly(["apt-get", "download", f"{PACKAGE}={PACKAGE_VERSION}"], scratch,
                "Debian 12 has this version, once its package lists are there (apt-get update).")
    packages = sorted(scratch.glob("*.deb"))
    if len(packages) != 1:
        raise TextError(f"apt-get download {PACKAGE} brought {len(packages)} packages, expected 1")
    check_file(packages[0], PACKAGE_SHA256)
    run_quietly(["dpkg-deb", "--extract", packages[0].name, "files"], scratch,
                "The package is the expected one; is there room for its files?")
    return scratch / "files"


def bring(out: pathlib.Path) -> None:
    missing = {}
    for file, (variable, expected) in TEXTS.items():
        if (out / file).is_file() and sha256_of(out / file) == expected:
            print(f"{out / file}: already here, SHA-256 as expected")
        else:
            missing[file] = (variable, expected)
    if not missing:
        return
    print(f"{', '.join(str(out / file) for file in missing)}:", flush=True)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".text-", dir=out) as temporary:
        scratch = pathlib.Path(temporary)
        files = bring_package(scratch)
        for file, (variable, expected) in missing.items():
            text = "\n".join(read_variable(files / DATABASE, variable)) + NOVEL_END
            (scratch / file).write_bytes(text.encode())
            check_file(scratch / file, expected)
            os.replace(scratch / file, out / file)
    print("  ready, SHA-256 as expected")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, metavar="OUT")
    arguments = parser.parse_args()
    try:
        bring(arguments.out)
    except (TextError, OSError) as error:
        print(f"get_text.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
