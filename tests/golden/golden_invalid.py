"""The invalid golden containers: INVALID = {"Rnn_what": function that returns bytes}.

Each breaks one thing in a valid container; every hash above it is made anew, so that the rule in
the name is the first broken.
"""
import struct

import numpy as np

import encode
from encode import exact_tensor, raw_tensor, stream_tensor
from encode_chunks import side_vector, stream_chunk
from golden_numbers import Numbers
from golden_valid import PLAIN, TINY

INVALID = {}
FILES = [("config.json", b"{}\n")]


def bad(name, make):
    INVALID[name] = make


# ---- containers to break ------------------------------------------------------------------------

def raw():
    return raw_tensor("w", "F32", (2, 3), bytes(range(24)), tile_rows=1)


def exact():
    return exact_tensor("e", "BF16", (5, 8), Numbers(20).floats(40, 16))


STREAM_SIDE = (list(range(16)), list(range(-17, 17)), [20, 21, 20, 22] * 4, [1, 0] * 17)


def stream(**options):
    return stream_tensor("s", "BF16", (16, 34), TINY, PLAIN, options.pop("side", STREAM_SIDE),
                         Numbers(21).index, **options)


def patched_stream():
    exact_parts = ({3: list(range(16)), 7: list(range(16, 32))}, {9: 10, 11: 12})
    return stream(exact={0: exact_parts})


def built(tensors, change=None, **parts):
    """The container of `tensors`, with change(description of the index) in between."""
    codecs = [TINY] if any(t.fields["profile"] == 2 for t in tensors) else []
    payload, description = encode.layout(tensors, **{"codecs": codecs, **parts})
    if change:
        change(description)
    return encode.assemble(payload, encode.build_index(description))


# ---- R1-R8: superblock and FlatBuffer -----------------------------------------------------------

def whole():
    return encode.container([raw()])


def edited(data, at, new):
    """`data` with the bytes at `at` replaced by `new`."""
    return data[:at] + new + data[at + len(new):]


def with_superblock(**changed):
    data = whole()
    (offset,) = struct.unpack_from("<Q", data, 24)
    return encode.superblock(offset, data[offset:], **changed) + data[4096:]


def index_at():
    return struct.unpack_from("<Q", whole(), 24)[0]


bad("R01_short", lambda: whole()[:4095])
bad("R01_magic", lambda: edited(whole(), 4, b"\n\r"))
bad("R01_uncommitted", lambda: bytes(4096) + whole()[4096:])
bad("R02_hash", lambda: edited(whole(), 4088, bytes([whole()[4088] ^ 1])))
bad("R02_field", lambda: edited(whole(), 10, b"\1"))
bad("R03_major", lambda: with_superblock(major=2))
bad("R04_feature", lambda: with_superblock(required_features=1 << 31))
bad("R04_reserved", lambda: with_superblock(reserved={4087: 1}))
bad("R05_longer", lambda: whole() + bytes(8))
bad("R05_cut", lambda: whole()[:-8])
bad("R06_misaligned", lambda: with_superblock(index_offset=index_at() + 4,
                                              index_size=len(whole()) - index_at() - 4))
bad("R06_in_superblock", lambda: with_superblock(index_offset=4088, index_size=len(whole()) - 4088))
bad("R06_end", lambda: with_superblock(index_size=len(whole()) - index_at() - 8))
bad("R06_overflow", lambda: with_superblock(index_offset=(1 << 64) - 8,
                                            index_size=len(whole()) + 8))
bad("R06_small", lambda: with_superblock(index_offset=len(whole()), index_size=0))
bad("R07_index_byte", lambda: edited(whole(), len(whole()) - 1, bytes([whole()[-1] ^ 1])))
bad("R07_root_hash", lambda: with_superblock(high=0))


def with_index(index):
    payload, _ = encode.layout([raw()])
    return encode.assemble(payload, index)


def index_of(change):
    _, description = encode.layout([raw()])
    change(description)
    return encode.build_index(description)


def drop_name(description):
    description["tensors"][0]["name"] = None


def share_string(description):
    description.update(producer=b"p" * 2000, options=encode.SAME_AS_PRODUCER)


bad("R08_identifier", lambda: with_index(
    encode.build_index(encode.layout([raw()])[1], identifier=b"NWC2")))
bad("R08_root_offset", lambda: with_index(edited(index_of(lambda d: None), 0, b"\xf0\xff\xff\xff")))
bad("R08_no_name", lambda: with_index(index_of(drop_name)))
bad("R08_shared_string", lambda: with_index(index_of(share_string)))


# ---- R9-R19: index ------------------------------------------------------------------------------

def tensor_field(rule_and_name, make=raw, **values):
    bad(rule_and_name, lambda: built([make()], lambda d: d["tensors"][0].update(values)))


def stream_field(rule_and_name, **values):
    def change(description):
        description["tensors"][0]["stream"].update(values)
    bad(rule_and_name, lambda: built([stream()], change))


tensor_field("R09_empty", name=b"")
tensor_field("R09_long", name=b"n" * 4097)
tensor_field("R09_not_utf8", name=b"w\xed\xa0\x80")
tensor_field("R09_reserved", name=b"__metadata__")
bad("R09_twice", lambda: built([raw(), raw()]))
tensor_field("R10_dimensions", shape=[2, 3, 1, 1, 1, 1, 1, 1, 1])
tensor_field("R10_large", shape=[1 << 24, (1 << 22) + 1], rows=1 << 24, columns=(1 << 22) + 1)
tensor_field("R10_overflow", shape=[1 << 32, 1 << 32], rows=1 << 32, columns=1 << 32)
tensor_field("R11_dtype", dtype=15)
tensor_field("R12_exact", make=exact, dtype=encode.DTYPES["I16"][0])
tensor_field("R12_stream", make=stream, dtype=encode.DTYPES["U16"][0])
tensor_field("R13_view", rows=3)
tensor_field("R13_overflow", rows=1 << 63, columns=(1 << 2) + 12)
tensor_field("R13_no_rows", tile_rows=0)
tensor_field("R13_no_columns", tile_columns=0)
tensor_field("R13_raw_columns", tile_columns=2)
tensor_field("R13_exact_columns", make=exact, tile_columns=4)
tensor_field("R13_large_raw", shape=[1 << 15, (1 << 14) + 1], rows=1 << 15, columns=(1 << 14) + 1,
             tile_rows=1 << 15, tile_columns=(1 << 14) + 1)
tensor_field("R13_large_stream", make=stream, shape=[1025, 1024], rows=1025, columns=1024,
             tile_rows=1025, tile_columns=1024)
tensor_field("R13_wide_stream", make=stream, shape=[1, 65536], rows=1, columns=65536,
             tile_rows=1, tile_columns=65536)
tensor_field("R13_empty_stream", make=stream, shape=[0, 34], rows=0)
bad("R14_missing", lambda: built([raw()], lambda d: d["tensors"][0]["chunks"].pop()))
bad("R14_extra", lambda: built([raw()], lambda d: d["tensors"][0].update(tile_rows=2)))


def chunk_field(rule_and_name, number, **values):
    def change(description):
        chunk = description["tensors"][0]["chunks"][number]
        chunk.update({field: value(chunk[field]) for field, value in values.items()})
    bad(rule_and_name, lambda: built([raw()], change))


def with_gap(size):
    """`size` bytes that belong to nothing before the index."""
    payload, description = encode.layout([raw()])
    return encode.assemble(bytes(payload) + bytes(size), encode.build_index(description))


def swapped(description):
    chunks = description["tensors"][0]["chunks"]
    chunks[0], chunks[1] = chunks[1], chunks[0]


def gap_inside():
    tensor = raw()
    payload, description = encode.layout([tensor])
    late = encode.Payload()
    late.data = bytearray(4096)
    description["tensors"][0]["chunks"] = [late.add(chunk) for chunk in tensor.chunks]
    return encode.assemble(late.data, encode.build_index(description))


chunk_field("R15_misaligned", 1, offset=lambda at: at + 2)
chunk_field("R15_overlap", 1, offset=lambda at: at - 4)
chunk_field("R15_outside", 1, offset=lambda at: at + 400)
chunk_field("R15_in_superblock", 0, offset=lambda at: at - 8)
chunk_field("R15_overflow", 1, offset=lambda at: (1 << 64) - 8)
chunk_field("R15_reserved", 1, zero=lambda _: 1)
bad("R15_order", lambda: built([raw()], swapped))
bad("R15_gap", gap_inside)
bad("R15_gap_at_end", lambda: with_gap(4096))
chunk_field("R16_raw", 1, size=lambda size: size - 4)


def resized(tensor, size):
    tensor.chunks[0] = (tensor.chunks[0] + bytes(size))[:size]
    return built([tensor])


bad("R16_empty_exact", lambda: resized(exact(), 0))
bad("R16_empty_stream", lambda: resized(stream(), 0))
bad("R16_small_exact", lambda: resized(exact(), 164 + 36))
bad("R16_small_stream", lambda: resized(stream(), 136))
bad("R16_huge_exact", lambda: resized(exact(), 2 * 80 + 65536 + 4))

tensor_field("R17_missing", make=stream, stream=None)
stream_field("R17_codec", codec=1)
stream_field("R17_trellis", trellis=3)
stream_field("R17_offset", offset1=32)
stream_field("R17_offset2", offset2=-32)
for what, scale in (("zero", 0.0), ("negative", -1.0), ("infinite", float("inf")),
                    ("nan", float("nan")), ("small", 2.0 ** -41), ("large", 2.0 ** 41)):
    stream_field(f"R17_scale_{what}", scale=scale)


def against_profile(description):
    description["tensors"][0]["stream"] = {**PLAIN, "side": {"offset": 4096, "hash": 0, "size": 0}}


bad("R17_raw", lambda: built([raw()], against_profile, codecs=[TINY]))


def with_table(rule_and_name, change):
    """change(tables of the codec) breaks them in place."""
    def make():
        tables = [list(table) for table in TINY["tables"]]
        change(tables)
        return built([raw()], codecs=[{"name": "bad", "tables": tables}])
    bad(rule_and_name, make)


with_table("R18_sum", lambda tables: tables[5].__setitem__(0, tables[5][0] + 1))
with_table("R18_zero", lambda tables: tables.__setitem__(5, [4096 - 2 * 20, 20, 0]))
with_table("R18_no_alphabet", lambda tables: tables.__setitem__(127, [4096]))
with_table("R18_large_alphabet", lambda tables: tables.__setitem__(0, [4096 - 256] + [1] * 128))
with_table("R18_tables", lambda tables: tables.pop())
bad("R18_codecs", lambda: built([raw()], codecs=[{"name": "", "tables": []}] * 257))
for what, name in (("empty", ""), ("long", "f" * 256), ("dot", "."), ("parent", ".."),
                   ("slash", "a/b"), ("backslash", "a\\b"), ("control", "a\x1f")):
    bad(f"R19_{what}", lambda name=name: built([raw()], files=[(name, b"x")]))
bad("R19_twice", lambda: built([raw()], files=FILES + FILES))
bad("R19_shard_name", lambda: built([raw()], shards=[("../w.safetensors", "")]))
tensor_field("R19_shard", shard=1)


# ---- R20-R31: chunks ----------------------------------------------------------------------------

def with_hash(rule_and_name, make, find, **parts):
    """One bit of the hash that `find` picks from the description is wrong."""
    def change(description):
        find(description)["hash"] ^= 1
    bad(rule_and_name, lambda: built([make()], change, **parts))


for what, make in (("raw", raw), ("exact", exact), ("stream", stream)):
    with_hash(f"R20_{what}", make, lambda d: d["tensors"][0]["chunks"][-1])
with_hash("R21_side", stream, lambda d: d["tensors"][0]["stream"]["side"])

GOOD_SIDE = b"".join(side_vector(vector) for vector in STREAM_SIDE)


def with_side(rule_and_name, data):
    def make():
        tensor = stream()
        tensor.side = data
        return built([tensor])
    bad(rule_and_name, make)


def with_steps(u, w):
    vectors = [u] * 16, [w] * 34, *STREAM_SIDE[2:]
    return b"".join(side_vector(vector) for vector in vectors)


BASES = b"".join(side_vector(vector) for vector in STREAM_SIDE[1:])
with_side("R22_kind", edited(GOOD_SIDE, 0, b"\2"))
with_side("R22_value", struct.pack("<Bh", 0, 512) + BASES)
with_side("R22_rice_value", side_vector([511] * 15 + [512], base=511) + BASES)
with_side("R22_width", struct.pack("<BhB", 1, 0, 13) + bytes(8) + BASES)
with_side("R22_padding", edited(side_vector([1] * 15 + [2], base=1, width=0), 6, b"\x81") + BASES)
with_side("R22_short", GOOD_SIDE[:-1])
with_side("R22_empty", b"")
with_side("R22_long", GOOD_SIDE + b"\0")
with_side("R22_steps_low", with_steps(-400, -361))  # -5 - 50 - 46
with_side("R22_steps_high", with_steps(416, 432))   # -5 + 52 + 54


GAINS = list(range(-8, 8))


def with_gains(rule_and_name, gains, **superblock):
    """A tensor with row gains whose bytes are `gains`."""
    def make():
        tensor = stream(side=(*STREAM_SIDE, GAINS))
        tensor.side = GOOD_SIDE + gains
        payload, description = encode.layout([tensor], codecs=[TINY])
        features = {**encode.features(description), **superblock}
        return encode.assemble(payload, encode.build_index(description), **features)
    bad(rule_and_name, make)


def announced_gains():
    payload, description = encode.layout([stream()], codecs=[TINY])
    return encode.assemble(payload, encode.build_index(description), minor=1, required_features=2)


with_gains("R22_gain_missing", b"")
with_gains("R22_gain_short", side_vector(GAINS)[:-1])
with_gains("R22_gain_long", side_vector(GAINS) + b"\0")
with_gains("R22_gain_low", struct.pack("<Bh", 0, -513))
with_gains("R22_gain_high", side_vector([511] * 15 + [512], base=511))
with_gains("R38_not_announced", side_vector(GAINS), required_features=0)
bad("R38_announced", announced_gains)


def with_chunk(rule_and_name, make, change):
    """change(bytes of the first chunk) -> its bytes"""
    def build():
        tensor = make()
        tensor.chunks[0] = bytes(change(tensor.chunks[0]))
        return built([tensor])
    bad(rule_and_name, build)


def words_of_stream(data):
    return struct.unpack_from("<I", data, 8)[0]


def ids_at(data):
    return 140 + 2 * words_of_stream(data)


def patch_ids_at(data):
    columns = struct.unpack_from("<H", data, 2)[0]
    return (ids_at(data) + 2 * columns + 3) // 4 * 4


def one_column():
    return stream(exact={0: ({3: list(range(16))}, {})})


def odd_exact():
    return exact_tensor("e", "BF16", (5, 7), Numbers(20).floats(35, 16))


with_chunk("R23_buckets", stream, lambda data: edited(data, 0, b"\5"))
with_chunk("R23_reserved", stream, lambda data: edited(data, 1, b"\1"))
with_chunk("R23_columns", stream, lambda data: edited(data, 2, struct.pack("<H", 35)))
with_chunk("R23_patches", stream, lambda data: edited(data, 4, struct.pack("<I", 16 * 34 + 1)))
with_chunk("R23_words", stream, lambda data: edited(data, 8, b"\xff\xff\xff\xff"))
with_chunk("R23_longer", stream, lambda data: data + bytes(4))
with_chunk("R23_shorter", patched_stream, lambda data: data[:-4])
with_chunk("R23_padding_of_ids", one_column, lambda data: edited(data, ids_at(data) + 2, b"\1"))


def too_wide(rule_and_name, wide_tables):
    """A chunk of 64 buckets whose range of tables includes one with K = 32."""
    def make():
        tensor = stream()
        tables = [(4096 - 64,) + (1,) * 32 if at in wide_tables else table
                  for at, table in enumerate(TINY["tables"])]
        return built([tensor], codecs=[{"name": "wide", "tables": tables}])
    bad(rule_and_name, make)


too_wide("R24_first", {2 * 20})
too_wide("R24_last", {2 * 23 + 1})

with_chunk("R25_columns_order", patched_stream,
           lambda data: edited(data, ids_at(data), struct.pack("<HH", 7, 3)))
with_chunk("R25_columns_same", patched_stream,
           lambda data: edited(data, ids_at(data), struct.pack("<HH", 7, 7)))
with_chunk("R25_columns_outside", patched_stream,
           lambda data: edited(data, ids_at(data), struct.pack("<HH", 3, 34)))
with_chunk("R25_patches_order", patched_stream,
           lambda data: edited(data, patch_ids_at(data), struct.pack("<II", 11, 9)))
with_chunk("R25_patches_outside", patched_stream,
           lambda data: edited(data, patch_ids_at(data), struct.pack("<II", 9, 16 * 34)))


def stream_with_last_state():
    """Lane 31 ends at 2^16 + 1; everything else adds up."""
    tensor = stream()
    u, w, a, b = map(np.array, STREAM_SIDE)
    t = np.clip(a[:, None] + b[None, :], 0, 63)
    k = np.zeros_like(t)
    tensor.chunks[0] = stream_chunk(k, k, t, TINY["tables"], 6, "BF16",
                                    last_states=(1 << 16,) * 31 + ((1 << 16) + 1,))
    return built([tensor])


def one_word_more(data):
    words, rest = words_of_stream(data), ids_at(data)
    return edited(data[:rest], 8, struct.pack("<I", words + 2)) + bytes(4) + data[rest:]


def one_word_less(data):
    words, rest = words_of_stream(data), ids_at(data)
    return edited(data[:rest - 4], 8, struct.pack("<I", words - 2)) + data[rest:]


with_chunk("R26_first_state", stream,
           lambda data: edited(data, 12 + 4 * 31, struct.pack("<I", 0xFFFF)))
with_chunk("R26_words_left", stream, one_word_more)
with_chunk("R26_words_missing", stream, one_word_less)
bad("R26_last_state", stream_with_last_state)
with_chunk("R26_exact_first_state", exact, lambda data: edited(data, 4, bytes(4)))
with_chunk("R26_exact_words", exact, lambda data: edited(
    data, 164, struct.pack("<2H", *reversed(struct.unpack_from("<2H", data, 164)))))

with_chunk("R27_words", exact, lambda data: edited(data, 0, b"\xff\xff\xff\xff"))
with_chunk("R27_longer", exact, lambda data: data + bytes(4))
with_chunk("R27_padding", odd_exact, lambda data: edited(data, len(data) - 1, b"\1"))
with_chunk("R28_sum", exact, lambda data: edited(
    data, 164, struct.pack("<H", struct.unpack_from("<H", data, 164)[0] + 1)))


def zero_frequency(data):
    first, second = struct.unpack_from("<2H", data, 164)
    return edited(data, 164, struct.pack("<2H", 0, first + second))


def one_symbol(_):
    return struct.pack("<I32I32BH", 0, *[1 << 16] * 32, 1, *[0] * 31, 4096) + bytes(42)


with_chunk("R28_zero", exact, zero_frequency)
with_chunk("R28_one_symbol", exact, one_symbol)


def with_decoded(rule_and_name, make):
    def change(description):
        low, high = description["tensors"][0]["decoded_hash"]
        description["tensors"][0]["decoded_hash"] = low, high ^ 1 << 63
    bad(rule_and_name, lambda: built([make()], change))


for what, make in (("raw", raw), ("exact", exact), ("stream", stream)):
    with_decoded(f"R29_{what}", make)
with_hash("R30_file", raw, lambda d: d["files"][0]["extent"], files=FILES)


def with_padding(at):
    """The byte `at` of the payload, which is padding, is not zero."""
    payload, description = encode.layout([raw_tensor("w", "U8", (5,), bytes(5))], files=FILES)
    payload = payload + bytes(-len(payload) % 8)
    assert payload[at] == 0
    payload[at] = 1
    return encode.assemble(payload, encode.build_index(description))


bad("R31_between", lambda: with_padding(3))
bad("R31_before_index", lambda: with_padding(9))
