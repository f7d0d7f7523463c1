"""What the tests of the Python package share: golden files, and what `nwc unpack` makes of them."""
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

TESTS = pathlib.Path(__file__).resolve().parent.parent
ROOT = TESTS.parent
GOLDEN = TESTS / "golden"
# This one cannot be decoded by any build.
VALID = sorted(p for p in (GOLDEN / "valid").glob("*.nwc") if p.stem != "unknown_profile")
BINARIES = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None


def read_safetensors(path):
    """{name: (dtype, shape, bytes)}"""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:8 + size]), content[8 + size:]
    return {name: (entry["dtype"], tuple(entry["shape"]), data[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


class PackageCase(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def run_program(self, program, *arguments):
        return subprocess.run([BINARIES / program, *map(str, arguments)], check=True,
                              capture_output=True, text=True).stdout

    def unpacked(self, path):
        """Of all files that the container was packed from."""
        folder = self.folder / f"unpacked-{path.stem}"
        if not folder.exists():
            self.run_program("nwc", "unpack", path, "-o", folder, "--quiet")
        tensors = {}
        for file in folder.glob("*"):
            if file.suffix == ".safetensors" or not file.suffix:
                tensors.update(read_safetensors(file))
        return tensors

    def packed(self, arrays, *arguments, profile="exact"):
        """A container of NumPy arrays by name."""
        names = {"float32": "F32", "float16": "F16", "int64": "I64"}
        header, end = {}, 0
        for name, array in arrays.items():
            header[name] = {"dtype": names[str(array.dtype)], "shape": list(array.shape),
                            "data_offsets": [end, end + array.nbytes]}
            end += array.nbytes
        text = json.dumps(header).encode()
        source = self.folder / "m.safetensors"
        with open(source, "wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            for array in arrays.values():
                array.tofile(file)
        packed = self.folder / "m.nwc"
        self.run_program("nwc-pack", source, "-o", packed, "--profile", profile, "--quiet", "--force",
                         *arguments)
        source.unlink()
        return packed

    def damaged(self, path, at):
        """A copy with one bit changed."""
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        copy = self.folder / "damaged.nwc"
        copy.write_bytes(content)
        return copy


def main():
    unittest.main(argv=sys.argv[:1], warnings="ignore")
