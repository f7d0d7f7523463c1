#!/usr/bin/env python3
"""Turns text into tokens for nwc-eval and nwc-train; see tools/tokens.h.

    tokenize_text.py --tokenizer tokenizer.json --text FILE --output OUT --windows N --length L
                     [--sentences]

Writes a .safetensors file with input_ids (int64, one dimension): the first N × L tokens of the text
without special tokens, or fewer when the text ends. With --sentences: the first N sentences with
special tokens, each cut to L, one after the other, and `begins`: where each one begins and where the
last one ends. Needs the package `tokenizers`.

Exit codes: 1 the tokenizer is bad, 2 the text is bad, 3 the package is missing.
"""
import argparse
import json
import pathlib
import struct
import sys

CHARACTERS_A_TOKEN = 8  # more than nearly every text has
SPARE_TOKENS = 64       # the last tokens of a cut text may differ from those of the whole
LEAST_WORDS = 5


class Bad(Exception):
    """A message for the user and an exit code."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        self.code = code


def open_tokenizer(path: pathlib.Path):
    try:
        import tokenizers
    except ImportError as error:
        raise Bad(3, f"{sys.executable} has no package tokenizers; install it with 'python3 -m pip "
                     "install tokenizers', and name another interpreter in NWC_PYTHON if need "
                     "be") from error
    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(path))
    except Exception as error:  # the package raises nothing more precise
        raise Bad(1, f"{path}: no tokenizer that the package tokenizers can read ({error}); expected "
                     "the model's tokenizer.json") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def read_text(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Bad(2, f"{path}: byte {error.start} is not UTF-8; expected a text file, or "
                     ".safetensors with input_ids") from error
    except OSError as error:
        raise Bad(3, f"{path}: cannot read: {error.strerror}; check the path") from error


def stream_of(tokenizer, text: str, wanted: int) -> list[int]:
    """The first tokens of the text; a long text is read only as far as needed."""
    characters = CHARACTERS_A_TOKEN * wanted
    while True:
        ids = tokenizer.encode(text[:characters], add_special_tokens=False).ids
        if characters >= len(text) or len(ids) >= wanted + SPARE_TOKENS:
            return ids[:wanted]
        characters *= 2


def sentences_of(text: str) -> list[str]:
    """Paragraphs where blank lines part them, else lines; only those of a few words."""
    lines = [line.strip() for line in text.strip().splitlines()]
    if "" in lines:
        blocks = "\n".join(lines).split("\n\n")
        lines = [" ".join(block.split()) for block in blocks]
    return [line for line in lines if len(line.split()) >= LEAST_WORDS]


def write_tokens(path: pathlib.Path, tensors: dict[str, list[int]]) -> None:
    header, data = {}, b""
    for name, values in tensors.items():
        raw = struct.pack(f"<{len(values)}q", *values)
        header[name] = {"dtype": "I64", "shape": [len(values)],
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def run(arguments: argparse.Namespace) -> None:
    tokenizer = open_tokenizer(arguments.tokenizer)
    text = read_text(arguments.text)
    if not arguments.sentences:
        wanted = arguments.windows * arguments.length
        write_tokens(arguments.output, {"input_ids": stream_of(tokenizer, text, wanted)})
        return
    tokenizer.enable_truncation(arguments.length)
    ids, begins = [], [0]
    for sentence in sentences_of(text)[:arguments.windows]:
        ids += tokenizer.encode(sentence).ids
        begins.append(len(ids))
    write_tokens(arguments.output, {"input_ids": ids, "begins": begins})


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tokenizer", "text", "output"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    for name in ("windows", "length"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--sentences", action="store_true")
    try:
        run(parser.parse_args())
    except Bad as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
