"""Writes small containers from format.md, in memory: the writer of the golden files.

It shows that the specification is enough to write the format. Steps, each of which a test may bend
before the next: tensors -> layout() -> payload and a description of the index (plain dictionaries)
-> build_index() -> assemble().
"""
import math
import struct
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from flatbuffers import Builder

import xxh3
from encode_chunks import decoded_tile, exact_chunk, side_vector, stream_chunk, walk
from encode_neural import decoded_neural_tile, neural_chunk, neural_codec_bytes, neural_side

DTYPES = {"BOOL": (0, 1), "U8": (1, 1), "I8": (2, 1), "F8_E5M2": (3, 1), "F8_E4M3": (4, 1),
          "I16": (5, 2), "U16": (6, 2), "F16": (7, 2), "BF16": (8, 2), "I32": (9, 4),
          "U32": (10, 4), "F32": (11, 4), "F64": (12, 8), "I64": (13, 8), "U64": (14, 8)}
SAME_AS_PRODUCER = object()  # for `options`: one string, referred to twice


@dataclass
class Tensor:
    """A tensor with its chunks; `fields` are those of the index, by name."""
    fields: dict
    chunks: list
    decoded: bytes
    side: bytes = b""


# ==== tensors ====================================================================================

def matrix_view(shape):
    rows = shape[0] if shape else 1
    return rows, math.prod(shape[1:])


def fields(name, dtype, shape, profile, tile):
    rows, columns = matrix_view(shape)
    tile_rows, tile_columns = tile or (max(rows, 1), max(columns, 1))
    return {"name": name.encode(), "dtype": DTYPES[dtype][0], "profile": profile, "linear": False,
            "shape": list(shape), "rows": rows, "columns": columns, "tile_rows": tile_rows,
            "tile_columns": tile_columns, "shard": 0, "stream": None, "neural": None}


def tiles(entry):
    """(rows, columns) of each tile, as slices."""
    for row in range(0, entry["rows"], entry["tile_rows"]):
        for column in range(0, entry["columns"], entry["tile_columns"]):
            yield (slice(row, min(row + entry["tile_rows"], entry["rows"])),
                   slice(column, min(column + entry["tile_columns"], entry["columns"])))


def raw_tensor(name, dtype, shape, decoded, tile_rows=None, profile=0):
    entry = fields(name, dtype, shape, profile, None)
    entry["tile_rows"] = tile_rows or entry["tile_rows"]
    size = entry["tile_rows"] * entry["columns"] * DTYPES[dtype][1]
    chunks = [decoded[at:at + size] for at in range(0, len(decoded), size or 1)]
    return Tensor(entry, chunks, decoded)


def exact_tensor(name, dtype, shape, elements, tile_rows=None):
    entry = fields(name, dtype, shape, 1, None)
    entry["tile_rows"] = tile_rows or entry["tile_rows"]
    width = 8 * DTYPES[dtype][1]
    size = entry["tile_rows"] * entry["columns"]
    chunks = [exact_chunk(elements[at:at + size], width)
              for at in range(0, len(elements), size or 1)]
    return Tensor(entry, chunks, np.array(elements, f"<u{width // 8}").tobytes())


def stream_tensor(name, dtype, shape, codec, stream, side, choose, nb=6, tile=None, exact=None,
                  side_bytes=None):
    """stream: codec, trellis, scale, offset1, offset2; side: u, w, a, b and, where the tensor has
    row gains, g; choose(row, column, K, q) within a tile, see walk(); exact: {number of a tile:
    exact columns and patches}."""
    entry = fields(name, dtype, shape, 2, tile)
    entry.update(stream=dict(stream), linear=True)
    entry["stream"]["row_gains"] = len(side) > 4
    u, w, a, b = (np.array(vector) for vector in side[:4])
    g = np.array(side[4]) if len(side) > 4 else np.zeros(len(u), int)
    decoded = np.zeros((entry["rows"], entry["columns"]), f"<u{DTYPES[dtype][1]}")
    chunks = []
    for number, (r, c) in enumerate(tiles(entry)):
        own = (exact or {}).get(number, ())
        t = np.clip(a[r, None] + b[None, c], 0, 63)
        k, q = walk(t, codec["tables"], stream["trellis"], choose)
        chunks.append(stream_chunk(k, q, t, codec["tables"], nb, dtype, own))
        decoded[r, c] = decoded_tile(k, q, SimpleNamespace(**stream), (u[r], w[c], g[r]), dtype,
                                     own)
    side_bytes = side_bytes or b"".join(side_vector(vector) for vector in side)
    return Tensor(entry, chunks, decoded.tobytes(), side_bytes)


def neural_tensor(name, dtype, shape, codec, neural, side, latent, tile=None, exact=None):
    """neural: codec, scale; side: w, q; latent(latent, chunk row, column) within a tile; exact:
    {number of a tile: {number of a chunk: elements}}."""
    entry = fields(name, dtype, shape, 3, tile)
    entry.update(neural=dict(neural), linear=True)
    w, quality = (np.array(vector) for vector in side)
    decoded = np.zeros((entry["rows"], entry["columns"]), f"<u{DTYPES[dtype][1]}")
    chunks, settings = [], codec.settings
    for number, (r, c) in enumerate(tiles(entry)):
        own, rows = (exact or {}).get(number, {}), r.stop - r.start
        y = np.array([[[latent(i, row, column) for column in range(c.stop - c.start)]
                       for row in range(-(-rows // settings.chunk))]
                      for i in range(settings.latents)])
        chunks.append(neural_chunk(y, quality[c], codec, dtype, rows, own))
        decoded[r, c] = decoded_neural_tile(y, w[c], quality[c], codec, neural["scale"], dtype,
                                            rows, own)
    return Tensor(entry, chunks, decoded.tobytes(), neural_side(*side))


# ==== payload ====================================================================================

class Payload:
    """The bytes from 4096 on."""

    def __init__(self):
        self.data = bytearray()

    def add(self, part, alignment=4):
        """offset and size of `part`, after zero bytes up to the alignment"""
        self.data += bytes(-len(self.data) % alignment)
        offset = 4096 + len(self.data)
        self.data += part
        return {"offset": offset, "hash": xxh3.h64(part), "size": len(part), "zero": 0}


def layout(tensors, files=(), codecs=(), shards=(("model.safetensors", "{}"),), options=b"{}",
           neural_codecs=()):
    """(payload, description of the index). files: (name, bytes); shards: (name, metadata);
    neural_codecs: results of make_neural_codec, or (settings with a name, bytes)."""
    payload = Payload()
    description = {
        "tensors": [], "codecs": list(codecs), "producer": b"encode.py", "options": options,
        "files": [{"name": name.encode(), "extent": payload.add(data)} for name, data in files],
        "shards": [{"name": n.encode(), "metadata": m.encode()} for n, m in shards],
        "neural_codecs": []}
    for codec in neural_codecs:
        settings, data = codec if isinstance(codec, tuple) else (
            {"name": codec.name, **vars(codec.settings)}, neural_codec_bytes(codec))
        extent = payload.add(data, 4096 if len(data) >= 1 << 20 else 4)
        description["neural_codecs"].append({**settings, "extent": extent})
    for tensor in tensors:
        entry = dict(tensor.fields)
        size = len(tensor.side) + sum(map(len, tensor.chunks))
        alignment = 4096 if size >= 1 << 20 else 4
        for kind in ("stream", "neural"):
            if entry[kind]:
                entry[kind] = {**entry[kind], "side": payload.add(tensor.side, alignment)}
                alignment = 4
        entry["chunks"] = []
        for chunk in tensor.chunks:
            entry["chunks"].append(payload.add(chunk, alignment))
            alignment = 4
        entry["decoded_hash"] = xxh3.h128(tensor.decoded)
        description["tensors"].append(entry)
    return payload.data, description


# ==== index ======================================================================================

class IndexBuilder:
    """FlatBuffers by slot numbers; None leaves a field out."""

    def __init__(self):
        self.b = Builder(1024)

    def string(self, value):
        return None if value is None else self.b.CreateString(bytes(value))

    def vector(self, values, size, prepend):
        if values is None:
            return None
        self.b.StartVector(size, len(values), min(size, 8))
        for value in reversed(values):
            prepend(value)
        return self.b.EndVector()

    def chunk(self, chunk):
        self.b.Prep(8, 24)
        self.b.PrependUint32(chunk["zero"])
        self.b.PrependUint32(chunk["size"])
        self.b.PrependUint64(chunk["hash"])
        self.b.PrependUint64(chunk["offset"])

    def words(self, *values):
        """A struct of u64: Extent or Hash128."""
        self.b.Prep(8, 8 * len(values))
        for value in reversed(values):
            self.b.PrependUint64(value)
        return self.b.Offset()

    def extent(self, extent):
        return self.words(extent["offset"], extent["hash"], extent["size"])

    def references(self, slots):
        for slot, offset in slots.items():
            if offset is not None:
                self.b.PrependUOffsetTRelativeSlot(slot, offset, 0)

    def stream(self, stream):
        gains = stream.get("row_gains", False)
        self.b.StartObject(7 if gains else 6)
        self.b.PrependUint16Slot(0, stream["codec"], 0)
        self.b.PrependUint8Slot(1, stream["trellis"], 0)
        self.b.PrependFloat32Slot(2, stream["scale"], 0.0)
        self.b.PrependInt8Slot(3, stream["offset1"], 0)
        self.b.PrependInt8Slot(4, stream["offset2"], 0)
        self.b.PrependStructSlot(5, self.extent(stream["side"]), 0)
        if gains:
            self.b.PrependBoolSlot(6, True, False)
        return self.b.EndObject()

    def neural(self, neural):
        self.b.StartObject(3)
        self.b.PrependUint16Slot(0, neural["codec"], 0)
        self.b.PrependFloat32Slot(1, neural["scale"], 0.0)
        self.b.PrependStructSlot(2, self.extent(neural["side"]), 0)
        return self.b.EndObject()

    def neural_codec(self, codec):
        name = self.string(codec["name"].encode())
        self.b.StartObject(7)
        self.references({0: name})
        self.b.PrependUint16Slot(1, codec["chunk"], 0)
        self.b.PrependUint16Slot(2, codec["latents"], 0)
        self.b.PrependUint16Slot(3, codec["width"], 0)
        self.b.PrependUint8Slot(4, codec["blocks"], 0)
        self.b.PrependUint8Slot(5, codec["qualities"], 0)
        self.b.PrependStructSlot(6, self.extent(codec["extent"]), 0)
        return self.b.EndObject()

    def tensor(self, t):
        name = self.string(t["name"])
        shape = self.vector(t["shape"], 8, self.b.PrependUint64)
        chunks = self.vector(t["chunks"], 24, self.chunk)
        stream = self.stream(t["stream"]) if t["stream"] else None
        neural = self.neural(t["neural"]) if t["neural"] else None
        self.b.StartObject(14)
        self.references({0: name, 4: shape, 9: chunks, 12: stream, 13: neural})
        self.b.PrependUint8Slot(1, t["dtype"], 0)
        self.b.PrependUint8Slot(2, t["profile"], 0)
        self.b.PrependBoolSlot(3, t["linear"], False)
        self.b.PrependUint64Slot(5, t["rows"], 0)
        self.b.PrependUint64Slot(6, t["columns"], 0)
        self.b.PrependUint32Slot(7, t["tile_rows"], 0)
        self.b.PrependUint32Slot(8, t["tile_columns"], 0)
        self.b.PrependStructSlot(10, self.words(*t["decoded_hash"]), 0)
        self.b.PrependUint16Slot(11, t["shard"], 0)
        return self.b.EndObject()

    def file(self, file):
        name = self.string(file["name"])
        self.b.StartObject(2)
        self.references({0: name})
        self.b.PrependStructSlot(1, self.extent(file["extent"]), 0)
        return self.b.EndObject()

    def codec(self, codec):
        values = [f for table in codec["tables"] for f in table]
        name = self.string(codec["name"].encode())
        alphabet = self.vector([len(table) - 1 for table in codec["tables"]], 1,
                               self.b.PrependUint8)
        frequencies = self.vector(values, 2, self.b.PrependUint16)
        self.b.StartObject(3)
        self.references({0: name, 1: alphabet, 2: frequencies})
        return self.b.EndObject()

    def shard(self, shard):
        name, metadata = self.string(shard["name"]), self.string(shard["metadata"])
        self.b.StartObject(2)
        self.references({0: name, 1: metadata})
        return self.b.EndObject()

    def tables(self, build, entries):
        return self.vector([build(entry) for entry in entries], 4,
                           self.b.PrependUOffsetTRelative)

    def index(self, description):
        slots = {0: self.tables(self.tensor, description["tensors"]),
                 1: self.tables(self.file, description["files"]),
                 2: self.tables(self.codec, description["codecs"]),
                 3: self.tables(self.shard, description["shards"]),
                 4: self.string(description["producer"])}
        shared = description["options"] is SAME_AS_PRODUCER
        slots[5] = slots[4] if shared else self.string(description["options"])
        if description["neural_codecs"]:
            slots[6] = self.tables(self.neural_codec, description["neural_codecs"])
        if "newer" in description:  # a string that no version has yet
            slots[40] = self.string(description["newer"])
        self.b.StartObject(41)
        self.references(slots)
        return self.b.EndObject()


def build_index(description, identifier=b"NWC1"):
    builder = IndexBuilder()
    builder.b.Finish(builder.index(description), file_identifier=identifier)
    return bytes(builder.b.Output())


# ==== superblock =================================================================================

def superblock(at, index, **changed):
    """4096 bytes for an index at `at`. `changed` replaces fields; reserved: {offset: byte}."""
    low, high = xxh3.h128(index)
    values = {"major": 1, "minor": 0, "required_features": 0,
              "file_size": at + len(index), "index_offset": at,
              "index_size": len(index), "low": low, "high": high, **changed}
    reserved = values.pop("reserved", {})
    data = bytearray(4088)
    struct.pack_into("<8sHHIQQQQQ", data, 0, b"\x89NWC\r\n\x1a\n", *values.values())
    for offset, byte in reserved.items():
        data[offset] = byte
    return bytes(data) + struct.pack("<Q", xxh3.h64(data))


def features(description):
    """What the superblock says about an index: version 1.1 where it has neural codecs or gains."""
    gains = any((t["stream"] or {}).get("row_gains") for t in description["tensors"])
    bits = bool(description["neural_codecs"]) + 2 * gains
    return {"minor": 1, "required_features": bits} if bits else {}


def assemble(payload, index, **changed):
    payload = bytes(payload) + bytes(-len(payload) % 8)
    return superblock(4096 + len(payload), index, **changed) + payload + index


def container(tensors, **parts):
    """A valid file; parts as for layout()."""
    payload, description = layout(tensors, **parts)
    return assemble(payload, build_index(description), **features(description))
