#!/usr/bin/env python3
"""A second decoder of NWC containers, in the order of format.md and codec.md. Plain, not fast.

    decode.py FILE.nwc                        lists the tensors
    decode.py FILE.nwc [--tensor NAME] -o DIR writes DIR/<number>.bin and DIR/tensors.json

It needs numpy and the flatbuffers runtime, and shares no code with the C++ reader. As a module:
Container(bytes).decode(number). A broken rule raises FormatError, whose `rule` is its number.
"""
import argparse
import json
import math
import struct
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from flatbuffers import number_types
from flatbuffers.table import Table

import xxh3
from codec import TRELLISES, FormatError, decode_exact, decode_stream, read_side, require
from neural import check_settings, decode_nwc, read_codec, read_neural_side


class Unsupported(ValueError):
    """A valid tensor of a profile that this decoder does not know."""


# ==== format.md 1: superblock ====================================================================

MAGIC = b"\x89NWC\r\n\x1a\n"
SUPERBLOCK = 4096


def read_superblock(data, check_hashes):
    require(len(data) >= SUPERBLOCK and data[:8] == MAGIC, 1, "too short, or not an NWC file")
    major, minor, features, file_size, offset, size, low, high = struct.unpack_from(
        "<HHIQQQQQ", data, 8)
    (own_hash,) = struct.unpack_from("<Q", data, 4088)
    if check_hashes:
        require(xxh3.h64(data[:4088]) == own_hash, 2, "superblock hash does not match")
    require(major == 1, 3, f"major version {major}")
    require(features & ~3 == 0 and not any(data[56:4088]), 4,
            "unknown feature or reserved byte in use")
    require(file_size == len(data), 5, f"{len(data)} bytes, the superblock says {file_size}")
    require(offset % 8 == 0 and offset >= SUPERBLOCK and 8 <= size <= 1 << 30 and
            offset + size == file_size, 6, "index range")
    return SimpleNamespace(major=major, minor=minor, features=features, index_offset=offset,
                           index_size=size, root_hash=(low, high))


# ==== format.md 2: index =========================================================================

# Fields in slot order. A table, vector or string may be missing unless it is in NEEDED.
TABLES = {
    "Index": (("tensors", "[Tensor]"), ("files", "[File]"), ("codecs", "[Codec]"),
              ("shards", "[Shard]"), ("producer", "string"), ("options", "string"),
              ("neural_codecs", "[NeuralCodec]")),
    "Tensor": (("name", "string"), ("dtype", "ubyte"), ("profile", "ubyte"), ("linear", "bool"),
               ("shape", "[ulong]"), ("rows", "ulong"), ("columns", "ulong"),
               ("tile_rows", "uint"), ("tile_columns", "uint"), ("chunks", "[Chunk]"),
               ("decoded_hash", "Hash128"), ("shard", "ushort"), ("stream", "Stream"),
               ("neural", "Neural")),
    "Stream": (("codec", "ushort"), ("trellis", "ubyte"), ("scale", "float"), ("offset1", "byte"),
               ("offset2", "byte"), ("side", "Extent"), ("row_gains", "bool")),
    "Neural": (("codec", "ushort"), ("scale", "float"), ("side", "Extent")),
    "NeuralCodec": (("name", "string"), ("chunk", "ushort"), ("latents", "ushort"),
                    ("width", "ushort"), ("blocks", "ubyte"), ("qualities", "ubyte"),
                    ("extent", "Extent")),
    "Codec": (("name", "string"), ("alphabet", "[ubyte]"), ("frequencies", "[ushort]")),
    "File": (("name", "string"), ("extent", "Extent")),
    "Shard": (("name", "string"), ("metadata", "string")),
}
NEEDED = {("Tensor", "name"), ("Tensor", "decoded_hash"), ("Stream", "side"), ("File", "extent"),
          ("Neural", "side"), ("NeuralCodec", "extent")}
STRUCTS = {  # name -> (layout, field names)
    "Chunk": ("<QQII", ("offset", "hash", "size", "zero")),
    "Extent": ("<QQQ", ("offset", "hash", "size")),
    "Hash128": ("<QQ", ("low", "high")),
}
SCALARS = {  # name -> (size, reader)
    "ubyte": number_types.Uint8Flags, "byte": number_types.Int8Flags,
    "bool": number_types.BoolFlags, "ushort": number_types.Uint16Flags,
    "uint": number_types.Uint32Flags, "ulong": number_types.Uint64Flags,
    "float": number_types.Float32Flags,
}


class IndexReader:
    """Bounds-checked reading of the FlatBuffer; everything wrong with it is R8."""

    def __init__(self, data):
        require(len(data) >= 8 and data[4:8] == b"NWC1", 8, "no identifier NWC1")
        self.data = data
        self.budget = len(data)  # of all vectors and strings, as often as they are referred to
        self.index = self.table("Index", self.follow(0))

    def check(self, at, size, alignment):
        require(at % alignment == 0 and 0 <= at and at + size <= len(self.data), 8,
                f"{size} bytes at {at} of the index are outside it or misaligned")

    def follow(self, at):
        self.check(at, 4, 4)
        (offset,) = struct.unpack_from("<I", self.data, at)
        require(offset, 8, "an offset of 0")
        return at + offset

    def table(self, name, at):
        self.check(at, 4, 4)
        vtable = at - struct.unpack_from("<i", self.data, at)[0]
        self.check(vtable, 2, 2)
        (vtable_size,) = struct.unpack_from("<H", self.data, vtable)
        require(vtable_size % 2 == 0, 8, "a vtable of odd size")
        self.check(vtable, vtable_size, 2)
        view = Table(self.data, at)
        values = SimpleNamespace()
        for slot, (field, kind) in enumerate(TABLES[name]):
            offset = view.Offset(4 + 2 * slot)
            require(offset or (name, field) not in NEEDED, 8, f"a {name} without {field}")
            setattr(values, field, self.field(view, kind, offset))
        return values

    def field(self, view, kind, offset):
        at = view.Pos + offset
        if kind in SCALARS:
            flags = SCALARS[kind]
            if offset:
                self.check(at, flags.bytewidth, flags.bytewidth)
            return view.Get(flags, at) if offset else 0
        if kind in TABLES:
            return self.table(kind, self.follow(at)) if offset else None
        if kind in STRUCTS:
            return self.structure(kind, at)
        if kind == "string":
            return self.string(self.follow(at)) if offset else b""
        return self.vector(kind[1:-1], self.follow(at)) if offset else []

    def structure(self, kind, at):
        layout, fields = STRUCTS[kind]
        self.check(at, struct.calcsize(layout), 8)
        return SimpleNamespace(**dict(zip(fields, struct.unpack_from(layout, self.data, at))))

    def length(self, at, element_size, alignment):
        self.check(at, 4, 4)
        (count,) = struct.unpack_from("<I", self.data, at)
        self.check(at + 4, count * element_size, alignment)
        self.budget -= count * element_size
        require(self.budget >= 0, 8, "vectors and strings are shared and would expand")
        return count

    def string(self, at):
        count = self.length(at, 1, 1)
        self.check(at + 4, count + 1, 1)
        require(self.data[at + 4 + count] == 0, 8, "a string without final zero")
        return bytes(self.data[at + 4:at + 4 + count])

    def vector(self, kind, at):
        if kind in TABLES:
            count = self.length(at, 4, 4)
            return [self.table(kind, self.follow(at + 4 + 4 * i)) for i in range(count)]
        if kind in STRUCTS:
            size = struct.calcsize(STRUCTS[kind][0])
            count = self.length(at, size, 8)
            return [self.structure(kind, at + 4 + size * i) for i in range(count)]
        width = SCALARS[kind].bytewidth
        count = self.length(at, width, width)
        return np.frombuffer(self.data, f"<u{width}", count, at + 4).tolist()


# ==== format.md 3 and 4: dtypes, rules of the index ==============================================

DTYPES = ("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "I16", "U16", "F16", "BF16", "I32", "U32",
          "F32", "F64", "I64", "U64")
DTYPE_BYTES = (1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8)
PROFILES = ("raw", "exact", "stream", "nwc")
RAW, EXACT, STREAM, NWC = range(4)


def shown(tensor):
    return f"tensor {tensor.name[:200]!r}"


def check_names(index):  # R9
    seen = set()
    for t in index.tensors:
        require(1 <= len(t.name) <= 4096 and t.name != b"__metadata__" and t.name not in seen, 9,
                f"{shown(t)}: name of a bad length, reserved or used twice")
        seen.add(t.name)
        try:
            t.name.decode("utf-8")
        except UnicodeDecodeError as error:
            raise FormatError(9, f"{shown(t)}: name is not UTF-8") from error


def check_shapes(index):  # R10-R12
    for t in index.tensors:
        t.elements = math.prod(t.shape)
        # An unknown dtype (R11) counts as one byte here.
        t.element_bytes = DTYPE_BYTES[t.dtype] if t.dtype < len(DTYPES) else 1
        spanned = math.prod(d for d in t.shape if d != 0) * t.element_bytes
        require(len(t.shape) <= 8 and spanned <= 1 << 48, 10,
                f"{shown(t)}: shape {t.shape[:9]}")
    for t in index.tensors:
        require(t.dtype < len(DTYPES), 11, f"{shown(t)}: dtype {t.dtype}")
    for t in index.tensors:
        require(t.profile not in (EXACT, STREAM, NWC) or
                DTYPES[t.dtype] in ("F16", "BF16", "F32"), 12,
                f"{shown(t)}: profile {t.profile} with dtype {DTYPES[t.dtype]}")


def check_tiles(index):  # R13, R14
    for t in index.tensors:
        require(t.rows * t.columns == t.elements, 13, f"{shown(t)}: {t.rows} x {t.columns}")
        require(t.tile_rows and t.tile_columns, 13, f"{shown(t)}: empty tiles")
        rows, columns = min(t.rows, t.tile_rows), min(t.columns, t.tile_columns)
        require(rows * columns * t.element_bytes <= 1 << 31, 13, f"{shown(t)}: large tiles")
        require(t.profile not in (RAW, EXACT) or columns == t.columns, 13,
                f"{shown(t)}: tiles that do not span all columns")
        require(t.profile not in (STREAM, NWC) or
                (t.elements and rows * columns <= 1 << 20 and columns <= 65535), 13,
                f"{shown(t)}: empty or large tiles")
    for t in index.tensors:
        t.grid = (-(-t.rows // t.tile_rows), -(-t.columns // t.tile_columns))
        require(len(t.chunks) == (t.grid[0] * t.grid[1] if t.elements else 0), 14,
                f"{shown(t)}: {len(t.chunks)} chunks, grid {t.grid}")


def tile(t, number):
    """The rows and columns of a chunk, as slices."""
    r, c = divmod(number, t.grid[1])
    row, column = r * t.tile_rows, c * t.tile_columns
    return (slice(row, min(row + t.tile_rows, t.rows)),
            slice(column, min(column + t.tile_columns, t.columns)))


def payload(index):
    """All extents and chunks in file order."""
    for file in index.files:
        yield file.extent
    for codec in index.neural_codecs:
        yield codec.extent
    for t in index.tensors:
        if t.stream:
            yield t.stream.side
        if t.neural:
            yield t.neural.side
        yield from t.chunks


def check_payload(index, superblock):  # R15
    at = SUPERBLOCK
    for part in payload(index):
        require(part.offset % 4 == 0 and at <= part.offset < at + 4096 and
                part.offset + part.size <= superblock.index_offset, 15,
                f"{part.size} bytes at {part.offset} after {at}")
        require(getattr(part, "zero", 0) == 0, 15, "reserved field of a chunk")
        at = part.offset + part.size
    require(superblock.index_offset - at < 4096, 15, "bytes before the index belong to nothing")


def check_neural(index, superblock):  # R32, R33, R38
    require(len(index.neural_codecs) <= 256 and
            bool(superblock.features & 1) == bool(index.neural_codecs), 32, "neural codecs")
    gains = any(t.stream and t.stream.row_gains for t in index.tensors)
    require(bool(superblock.features & 2) == gains, 38, "row gains")
    for codec in index.neural_codecs:
        require(check_settings(codec), 32, f"settings of neural codec {codec.name!r}")
    for t in index.tensors:
        require(not (t.stream and t.neural), 33, f"{shown(t)}: stream and neural fields")
        if t.profile < len(PROFILES):
            require((t.neural is not None) == (t.profile == NWC), 33, f"{shown(t)}: neural field")
            require(t.neural is None or (t.neural.codec < len(index.neural_codecs) and
                                         2.0 ** -40 <= t.neural.scale <= 2.0 ** 40), 33,
                    f"{shown(t)}: neural parameters {t.neural}")


def check_chunk_sizes(index):  # R16
    for t in index.tensors:
        if t.profile >= len(PROFILES):
            continue
        for number, chunk in enumerate(t.chunks):
            r, c = tile(t, number)
            elements = (r.stop - r.start) * (c.stop - c.start)
            size = elements * t.element_bytes
            if t.profile == RAW:
                possible = chunk.size == size
            else:
                least = 164 + elements * (t.element_bytes - 1) if t.profile == EXACT else 140
                most = 2 * size + 65536
                if t.profile == NWC:
                    s = index.neural_codecs[t.neural.codec]
                    chunks = -(-(r.stop - r.start) // s.chunk) * (c.stop - c.start)
                    most = size + 4 * chunks * (s.latents + 1) + 65536
                possible = least <= chunk.size <= most
            require(possible, 16, f"{shown(t)}: chunk {number} of {chunk.size} bytes")


def check_streams(index):  # R17
    for t in index.tensors:
        if t.profile >= len(PROFILES):
            continue
        require((t.stream is not None) == (t.profile == STREAM), 17, f"{shown(t)}: stream field")
        if t.stream:
            s = t.stream
            require(s.codec < len(index.codecs) and s.trellis < len(TRELLISES) and
                    2.0 ** -40 <= s.scale <= 2.0 ** 40 and abs(s.offset1) <= 31 and
                    abs(s.offset2) <= 31, 17, f"{shown(t)}: stream parameters {s}")


def check_codecs(index):  # R18
    require(len(index.codecs) <= 256, 18, f"{len(index.codecs)} codecs")
    for codec in index.codecs:
        require(len(codec.alphabet) == 128 and all(1 <= k <= 127 for k in codec.alphabet) and
                len(codec.frequencies) == sum(codec.alphabet) + 128, 18, "codec's alphabets")
        codec.tables, at = [], 0
        for k in codec.alphabet:
            table = codec.frequencies[at:at + k + 1]
            at += k + 1
            require(all(1 <= f <= 4095 for f in table) and table[0] + 2 * sum(table[1:]) == 4096,
                    18, "codec's frequencies")
            codec.tables.append(tuple(table))


def check_file_names(index):  # R19
    seen = set()
    for entry in index.files + index.shards:
        name = entry.name
        require(1 <= len(name) <= 255 and name not in (b".", b"..") and name not in seen and
                not any(c in b"/\\" or c < 0x20 for c in name), 19, f"file name {name[:300]!r}")
        seen.add(name)
    for t in index.tensors:
        require(t.shard < len(index.shards), 19, f"{shown(t)}: shard {t.shard}")


# ==== the container ==============================================================================

class Container:
    """Opening checks R1-R19, R32 and R33; decode() R20-R29 and R34-R37, file() R30,
    check_padding() R31."""

    def __init__(self, data, check_hashes=None):
        self.data = data
        self.check_hashes = len(data) < 8 << 20 if check_hashes is None else check_hashes
        self.superblock = read_superblock(data, self.check_hashes)
        index_bytes = data[self.superblock.index_offset:]
        if self.check_hashes:
            require(xxh3.h128(index_bytes) == self.superblock.root_hash, 7, "root hash")
        self.index = IndexReader(index_bytes).index
        self.tensors = self.index.tensors
        check_names(self.index)
        check_shapes(self.index)
        check_tiles(self.index)
        check_payload(self.index, self.superblock)
        check_neural(self.index, self.superblock)
        check_chunk_sizes(self.index)
        check_streams(self.index)
        check_codecs(self.index)
        check_file_names(self.index)
        self.neural_codecs = {}

    def part(self, extent, rule):
        data = self.data[extent.offset:extent.offset + extent.size]
        if self.check_hashes:
            require(xxh3.h64(data) == extent.hash, rule, f"hash of the bytes at {extent.offset}")
        return data

    def neural_codec(self, number):
        if number not in self.neural_codecs:
            settings = self.index.neural_codecs[number]
            self.neural_codecs[number] = read_codec(self.part(settings.extent, 34), settings)
        return self.neural_codecs[number]

    def decode(self, number):
        """The decoded bytes of a tensor, row-major."""
        t = self.tensors[number]
        if t.profile >= len(PROFILES):
            raise Unsupported(f"{shown(t)} has the unknown profile {t.profile}")
        dtype = DTYPES[t.dtype]
        if t.profile == STREAM:
            u, w, a, b, g = read_side(self.part(t.stream.side, 21), t.rows, t.columns,
                                      t.stream.scale, t.stream.row_gains)
            tables = self.index.codecs[t.stream.codec].tables
        elif t.profile == NWC:
            codec = self.neural_codec(t.neural.codec)
            w, q = read_neural_side(self.part(t.neural.side, 21), t.columns, t.neural.scale,
                                    codec.settings.qualities)
        out = np.zeros((t.rows, t.columns, t.element_bytes), np.uint8)
        for i, chunk in enumerate(t.chunks):
            data = self.part(chunk, 20)
            r, c = tile(t, i)
            if t.profile == STREAM:
                data = decode_stream(data, dtype, t.stream, tables, (u[r], w[c], a[r], b[c], g[r]))
            elif t.profile == NWC:
                data = decode_nwc(data, dtype, t.neural, codec, (w[c], q[c]), r.stop - r.start)
            elif t.profile == EXACT:
                data = decode_exact(data, dtype, out[r, c].size // t.element_bytes)
            out[r, c] = np.frombuffer(data, np.uint8).reshape(out[r, c].shape)
        decoded = out.tobytes()
        if self.check_hashes:
            require(xxh3.h128(decoded) == (t.decoded_hash.low, t.decoded_hash.high), 29,
                    f"{shown(t)}: decoded hash")
        return decoded

    def file(self, number):
        return self.part(self.index.files[number].extent, 30)

    def check_padding(self):
        at = SUPERBLOCK
        for part in payload(self.index):
            require(not any(self.data[at:part.offset]), 31, f"padding after {at}")
            at = part.offset + part.size
        require(not any(self.data[at:self.superblock.index_offset]), 31, f"padding after {at}")


def describe(t, number):
    known = t.profile < len(PROFILES)
    return {"number": number, "name": t.name.decode(), "dtype": DTYPES[t.dtype], "shape": t.shape,
            "profile": PROFILES[t.profile] if known else f"unsupported {t.profile}"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--tensor", help="only the tensor of this name")
    parser.add_argument("-o", "--output", type=Path, help="folder for the decoded tensors")
    parser.add_argument("--check-hashes", action=argparse.BooleanOptionalAction, default=None,
                        help="check all hashes; the default for files under 8 MB")
    arguments = parser.parse_args()
    container = Container(arguments.file.read_bytes(), arguments.check_hashes)
    chosen = [describe(t, i) for i, t in enumerate(container.tensors)]
    if arguments.tensor is not None:
        chosen = [entry for entry in chosen if entry["name"] == arguments.tensor]
        if not chosen:
            parser.error(f"no tensor {arguments.tensor!r} in {arguments.file}")
    if arguments.output is None:
        for entry in chosen:
            print("{number:5} {dtype:8} {profile:8} {shape!s:20} {name}".format(**entry))
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    for entry in chosen:
        if entry["profile"] in PROFILES:
            decoded = container.decode(entry["number"])
            (arguments.output / f"{entry['number']}.bin").write_bytes(decoded)
    (arguments.output / "tensors.json").write_text(json.dumps(chosen, indent=1) + "\n")


if __name__ == "__main__":
    try:
        main()
    except (FormatError, Unsupported, OSError) as failure:
        sys.exit(f"{sys.argv[1]}: {failure}")
