#!/usr/bin/env python3
"""Tests of tools/get_text.py and of the tokenizer that tools/get_models.py writes; all offline.

    get_scripts_test.py [unittest arguments]

A folder put before PATH stands in for apt-get; it brings what the test wants. The tokenizer's test
needs the package tokenizers and is skipped without it.
"""
import hashlib
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import types
import unittest
import zlib
from unittest import mock

sys.dont_write_bytecode = True
TOOLS = pathlib.Path(__file__).resolve().parents[2] / "tools"
sys.path.insert(0, str(TOOLS))
import get_models  # noqa: E402  (needs the path above)
import get_text  # noqa: E402

try:
    import tokenizers
except ImportError:
    tokenizers = None


def integers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}i", *values)


def r_header(version: int = 3) -> bytes:
    encoding = integers(5) + b"UTF-8" if version == 3 else b""
    return b"X\n" + integers(version, 0x040201, 0x030500) + encoding


def r_string(text: str) -> bytes:
    return integers(get_text.R_STRING, len(text.encode())) + text.encode()


def r_strings(*texts: str) -> bytes:
    return integers(get_text.R_STRINGS, len(texts)) + b"".join(map(r_string, texts))


def r_named_list(pairs: dict[str, bytes], names_symbol: bytes) -> bytes:
    """A list with the attribute "names"; `names_symbol` is that symbol, or a reference to it."""
    return (integers(get_text.R_LIST | get_text.R_HAS_ATTRIBUTES, len(pairs)) +
            b"".join(pairs.values()) + integers(get_text.R_PAIR | get_text.R_HAS_TAG) +
            names_symbol + r_strings(*pairs) + integers(get_text.R_END))


NAMES = integers(get_text.R_SYMBOL) + r_string("names")
FIRST_SYMBOL = integers(get_text.R_REFERENCE | 1 << 8)


class RValues(unittest.TestCase):
    def read(self, value: bytes, version: int = 3):
        return get_text.RReader(r_header(version) + value).value()

    def test_vectors_of_both_versions(self):
        for version in (2, 3):
            self.assertEqual(self.read(r_strings("a", "", "\u00e9"), version), ["a", "", "\u00e9"])
            self.assertEqual(self.read(integers(get_text.R_INTEGERS, 2, -1, 7), version), [-1, 7])

    def test_a_missing_string_is_empty(self):
        self.assertEqual(self.read(integers(get_text.R_STRINGS, 1, get_text.R_STRING, -1)), [""])

    def test_named_lists_nest_and_share_symbols(self):
        inner = r_named_list({"x": integers(get_text.R_INTEGERS, 1, 3)}, NAMES)
        self.assertEqual(self.read(r_named_list({"in": inner, "t": r_strings("u")}, FIRST_SYMBOL)),
                         {"in": {"x": [3]}, "t": ["u"]})

    def test_what_is_not_read_is_named(self):
        with self.assertRaisesRegex(get_text.TextError, "type 14"):  # real numbers
            self.read(integers(14, 0))
        with self.assertRaisesRegex(get_text.TextError, "version 4"):
            self.read(b"", version=4)
        with self.assertRaisesRegex(get_text.TextError, "binary form"):
            get_text.RReader(b"A\n3\n")

    def test_a_variable_of_a_database(self):
        text = zlib.compress(r_header() + r_strings("one", "two"))
        position = integers(get_text.R_INTEGERS, 2, 3, 4 + len(text))
        index = r_header() + r_named_list({"variables": r_named_list({"novel": position}, NAMES)},
                                          FIRST_SYMBOL)
        pack = zlib.compressobj(wbits=31)
        with tempfile.TemporaryDirectory() as folder:
            database = pathlib.Path(folder) / "Rdata"
            database.with_suffix(".rdx").write_bytes(pack.compress(index) + pack.flush())
            database.with_suffix(".rdb").write_bytes(b"..." + integers(0) + text + b"...")
            self.assertEqual(get_text.read_variable(database, "novel"), ["one", "two"])


class Texts(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = pathlib.Path(temporary.name)
        self.out = self.folder / "out"

    def run_script(self, apt_get: str):
        """Runs get_text.py with a shell script as apt-get, and a dpkg-deb that is never reached."""
        programs = self.folder / "programs"
        programs.mkdir()
        for name, body in {"apt-get": apt_get, "dpkg-deb": "exit 9"}.items():
            (programs / name).write_text(f"#!/bin/sh\n{body}\n")
            (programs / name).chmod(0o755)
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        return subprocess.run([sys.executable, TOOLS / "get_text.py", self.out], text=True,
                              capture_output=True, env=environment)

    def test_a_failed_download_is_explained(self):
        result = self.run_script("echo 'E: no such version'; exit 100")
        self.assertEqual(result.returncode, 1)
        self.assertIn("E: no such version", result.stderr)
        self.assertIn("apt-get update", result.stderr)
        self.assertEqual(list(self.out.iterdir()), [])

    def test_another_package_is_refused(self):
        result = self.run_script("echo other >package.deb")
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"expected {get_text.PACKAGE_SHA256}", result.stderr)
        self.assertEqual(list(self.out.iterdir()), [])

    def test_right_texts_are_left_alone(self):
        self.out.mkdir()
        (self.out / "a.txt").write_text("right")
        right = {"a.txt": ("a", hashlib.sha256(b"right").hexdigest())}
        with mock.patch.object(get_text, "TEXTS", right), \
             mock.patch.object(get_text, "bring_package") as download, mock.patch("builtins.print"):
            get_text.bring(self.out)
        download.assert_not_called()


class GgufFields:
    """What get_models.py uses of gguf.GGUFReader: `fields`, each with `parts` and `data`."""

    def __init__(self, fields: dict[str, list]):
        self.fields = {key: types.SimpleNamespace(
            parts=[value.encode() if isinstance(value, str) else [value] for value in values],
            data=range(len(values))) for key, values in fields.items()}


class Tokenizer(unittest.TestCase):
    TOKENS = ["<end>", "<start>", "1", "2", "a", "b", "ab", "\u0120", "\u0120ab"]

    def reader(self):
        return GgufFields({
            "tokenizer.ggml.tokens": self.TOKENS,
            "tokenizer.ggml.token_type": [3, 3, 1, 1, 1, 1, 1, 1, 1],
            "tokenizer.ggml.merges": ["a b", "\u0120 ab"],
            "tokenizer.ggml.bos_token_id": [1],
            "tokenizer.ggml.eos_token_id": [0],
            "tokenizer.ggml.padding_token_id": [0],
            "tokenizer.ggml.unknown_token_id": [0],
            "tokenizer.chat_template": ["{{ messages }}"],
        })

    @unittest.skipIf(tokenizers is None, "the package tokenizers is not installed")
    def test_merges_digits_and_special_tokens(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tokenizer.json"
            get_models.write_json(path, get_models.tokenizer_of(self.reader()))
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        text = "<start>ab ab 12<end>"
        encoded = tokenizer.encode(text)
        self.assertEqual(encoded.tokens,
                         ["<start>", "ab", "\u0120ab", "\u0120", "1", "2", "<end>"])
        self.assertEqual(tokenizer.decode(encoded.ids, skip_special_tokens=False), text)

    def test_configuration_names_the_special_tokens(self):
        config = get_models.tokenizer_config_of(self.reader())
        self.assertEqual([config[name] for name in ("bos_token", "eos_token", "chat_template")],
                         ["<start>", "<end>", "{{ messages }}"])


if __name__ == "__main__":
    unittest.main()
