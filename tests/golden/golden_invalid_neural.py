"""The invalid golden containers of profile nwc: INVALID_NEURAL, as INVALID of golden_invalid."""
import struct

import numpy as np

import encode
from encode import neural_tensor
from encode_chunks import side_vector
from encode_neural import neural_chunk, neural_codec_bytes, neural_side
from golden_invalid import edited, raw
from golden_neural import PLAIN, THIN, Latents, table

INVALID_NEURAL = {}
ROWS, COLUMNS = 11, 34
SIDE = ([i - 17 for i in range(COLUMNS)], [i % 4 for i in range(COLUMNS)])


def bad(name, make):
    INVALID_NEURAL[name] = make


def neural(**options):
    return neural_tensor("n", "BF16", (ROWS, COLUMNS), THIN, PLAIN, SIDE, Latents(101), **options)


def with_exact():
    return neural(exact={0: {5: [1, 2, 3, 4], 9: [5, 6, 7, 8], 70: [9, 10, 11]}})


def built(tensors, change=None, codecs=(THIN,), **superblock):
    """The container of `tensors`, with change(description of the index) in between."""
    payload, description = encode.layout(tensors, neural_codecs=codecs)
    if change:
        change(description)
    features = {**encode.features(description), **superblock}
    return encode.assemble(payload, encode.build_index(description), **features)


# ---- index --------------------------------------------------------------------------------------

def tensor_field(rule_and_name, **values):
    bad(rule_and_name, lambda: built([neural()], lambda d: d["tensors"][0].update(values)))


def neural_field(rule_and_name, **values):
    def change(description):
        description["tensors"][0]["neural"].update(values)
    bad(rule_and_name, lambda: built([neural()], change))


def codec_field(rule_and_name, **values):
    bad(rule_and_name, lambda: built([neural()], lambda d: d["neural_codecs"][0].update(values)))


def resized(size):
    tensor = neural()
    tensor.chunks[0] = (tensor.chunks[0] + bytes(size))[:size]
    return built([tensor])


def misplaced(description):
    description["neural_codecs"][0]["extent"]["offset"] += 2


def both(description):
    tensor = description["tensors"][0]
    tensor["stream"] = {"codec": 0, "trellis": 2, "scale": 1.0, "offset1": 0, "offset2": 0,
                        "side": {"offset": tensor["neural"]["side"]["offset"], "hash": 0,
                                 "size": 0}}


def against_profile(description):
    description["tensors"][0]["neural"] = {
        **PLAIN, "side": {"offset": description["tensors"][0]["chunks"][0]["offset"], "hash": 0,
                          "size": 0}}


tensor_field("R12_nwc", dtype=encode.DTYPES["U16"][0])
tensor_field("R13_large_nwc", shape=[1025, 1024], rows=1025, columns=1024, tile_rows=1025,
             tile_columns=1024)
tensor_field("R13_empty_nwc", shape=[0, COLUMNS], rows=0)
bad("R15_neural_codec", lambda: built([neural()], misplaced))
bad("R16_small_nwc", lambda: resized(136))
bad("R16_huge_nwc", lambda: resized(2 * ROWS * COLUMNS + 4 * 3 * COLUMNS * 5 + 65536 + 4))
bad("R32_feature_missing", lambda: built([neural()], required_features=0))
bad("R32_feature_alone", lambda: built([raw()], codecs=(), required_features=1))
for what, changed in (("chunk", 0), ("latents", 65), ("width", 0), ("blocks", 9), ("qualities", 0)):
    codec_field(f"R32_{what}", **{what: changed})
codec_field("R32_larger_net", width=256)
codec_field("R32_smaller_net", latents=1, width=1, qualities=1)
bad("R32_many", lambda: built([raw()], codecs=[(vars(THIN.settings) | {"name": ""}, b"")] * 257))
tensor_field("R33_missing", neural=None)
bad("R33_raw", lambda: built([raw()], against_profile))
bad("R33_both", lambda: built([neural()], both))
neural_field("R33_codec", codec=1)
for what, scale in (("zero", 0.0), ("nan", float("nan")), ("large", 2.0 ** 41),
                    ("small", 2.0 ** -41)):
    neural_field(f"R33_scale_{what}", scale=scale)


# ---- codec --------------------------------------------------------------------------------------

def with_codec(rule_and_name, change):
    """change(bytes of the codec) -> its bytes"""
    def make():
        settings = {"name": "bad", **vars(THIN.settings)}
        return built([neural()], codecs=[(settings, bytes(change(neural_codec_bytes(THIN))))])
    bad(rule_and_name, make)


def wrong_codec_hash(description):
    description["neural_codecs"][0]["extent"]["hash"] ^= 1


FREQUENCIES_AT = 4 * 16  # behind the headers of 16 tables; the first table has 9 symbols
first_frequency, second_frequency = table(9)[1][:2]
bad("R34_hash", lambda: built([neural()], wrong_codec_hash))
with_codec("R35_one_symbol", lambda data: edited(data, 2, struct.pack("<H", 1)))
with_codec("R35_many_symbols", lambda data: edited(data, 4 * 6 + 2, struct.pack("<H", 1025)))
with_codec("R35_sum", lambda data: edited(data, FREQUENCIES_AT,
                                          struct.pack("<H", first_frequency + 1)))
with_codec("R35_zero", lambda data: edited(data, FREQUENCIES_AT, struct.pack(
    "<2H", 0, first_frequency + second_frequency)))
with_codec("R35_longer", lambda data: data + bytes(2))
with_codec("R35_shorter", lambda data: data[:-2])
with_codec("R35_odd", lambda data: data + b"\0")
with_codec("R35_infinite", lambda data: data[:-2] + b"\x00\x7c")
with_codec("R35_nan", lambda data: data[:-2] + b"\x01\xfe")


# ---- side information ---------------------------------------------------------------------------

def with_side(rule_and_name, data):
    def make():
        tensor = neural()
        tensor.side = data
        return built([tensor])
    bad(rule_and_name, make)


def wrong_side_hash(description):
    description["tensors"][0]["neural"]["side"]["hash"] ^= 1


bad("R21_nwc", lambda: built([neural()], wrong_side_hash))
with_side("R22_quality", side_vector(SIDE[0]) + side_vector([4] * COLUMNS))
with_side("R22_negative_quality", side_vector(SIDE[0]) + side_vector([-1] + [0] * (COLUMNS - 1)))
with_side("R22_nwc_long", neural_side(*SIDE) + b"\0")
with_side("R22_nwc_short", side_vector(SIDE[0]))


def steep(code):
    """2^-40 or 2^40 with the steps at the same end."""
    tensor = neural()
    tensor.side = side_vector([code] * COLUMNS) + side_vector(SIDE[1])
    scale = 2.0 ** (-40 if code < 0 else 40)
    return built([tensor], lambda d: d["tensors"][0]["neural"].update(scale=scale))


bad("R22_nwc_steps_low", lambda: steep(-481))
bad("R22_nwc_steps_high", lambda: steep(488))


# ---- chunks -------------------------------------------------------------------------------------

def with_chunk(rule_and_name, make, change):
    """change(bytes of the first chunk) -> its bytes"""
    def build():
        tensor = make()
        tensor.chunks[0] = bytes(change(tensor.chunks[0]))
        return built([tensor])
    bad(rule_and_name, build)


def wrong_chunk_hash(description):
    description["tensors"][0]["chunks"][0]["hash"] ^= 1


def wrong_decoded_hash(description):
    low, high = description["tensors"][0]["decoded_hash"]
    description["tensors"][0]["decoded_hash"] = low, high ^ 1 << 63


def counts(data):
    """words, latent escapes, exact chunks"""
    return struct.unpack_from("<3I", data)


def escapes_at(data):
    return 140 + 2 * counts(data)[0]


def ids_at(data):
    return (escapes_at(data) + 2 * counts(data)[1] + 3) // 4 * 4


def pairs_of_words(data, change):
    """`data` with two words more or less, at the end of the words."""
    words, at = counts(data)[0], escapes_at(data)
    tail = data[at:]
    head = data[:at] + bytes(4) if change > 0 else data[:at - 4]
    return edited(head, 0, struct.pack("<I", words + change)) + tail


def escapes(data, change):
    """The same for the escapes, which keeps the padding."""
    count, at = counts(data)[1], escapes_at(data) + 2 * counts(data)[1]
    head = data[:at] + bytes(4) if change > 0 else data[:at - 4]
    return edited(head, 4, struct.pack("<I", count + change)) + data[at:]


def with_last_state():
    tensor = neural()
    y = np.zeros((4, 3, COLUMNS), int)
    tensor.chunks[0] = neural_chunk(y, np.array(SIDE[1]), THIN, "BF16", ROWS,
                                    last_states=(1 << 16,) * 31 + ((1 << 16) + 1,))
    return built([tensor])


def without_escapes():
    """All latents have symbols, and the escapes are an odd number of zeros: none is left to pad."""
    tensor = neural_tensor("n", "BF16", (ROWS, COLUMNS), THIN, PLAIN, SIDE, lambda *_: 0)
    data = tensor.chunks[0]
    assert counts(data)[1] == 0
    at = escapes_at(data)
    pad = (-at - 2) % 4
    tensor.chunks[0] = edited(data[:at] + bytes(2 + pad), 4, struct.pack("<I", 1))
    return built([tensor])


bad("R20_nwc", lambda: built([neural()], wrong_chunk_hash))
bad("R29_nwc", lambda: built([neural()], wrong_decoded_hash))
with_chunk("R25_chunks_order", with_exact,
           lambda data: edited(data, ids_at(data), struct.pack("<2I", 9, 5)))
with_chunk("R25_chunks_same", with_exact,
           lambda data: edited(data, ids_at(data), struct.pack("<2I", 9, 9)))
with_chunk("R25_chunks_outside", with_exact,
           lambda data: edited(data, ids_at(data) + 8, struct.pack("<I", 3 * COLUMNS)))
with_chunk("R26_nwc_first_state", neural,
           lambda data: edited(data, 12 + 4 * 31, struct.pack("<I", 0xFFFF)))
with_chunk("R26_nwc_words_left", neural, lambda data: pairs_of_words(data, 2))
with_chunk("R26_nwc_words_missing", neural, lambda data: pairs_of_words(data, -2))
bad("R26_nwc_last_state", with_last_state)
with_chunk("R36_words", neural, lambda data: edited(data, 0, b"\xff\xff\xff\xff"))
with_chunk("R36_escapes", neural,
           lambda data: edited(data, 4, struct.pack("<I", 3 * COLUMNS * 4 + 1)))
with_chunk("R36_exact_chunks", neural,
           lambda data: edited(data, 8, struct.pack("<I", 3 * COLUMNS + 1)))
with_chunk("R36_longer", neural, lambda data: data + bytes(4))
with_chunk("R36_shorter", with_exact, lambda data: data[:-4])
with_chunk("R36_last_padding", with_exact, lambda data: data[:-1] + b"\1")
with_chunk("R37_more", neural, lambda data: escapes(data, 2))
with_chunk("R37_fewer", neural, lambda data: escapes(data, -2))
bad("R37_none", without_escapes)
