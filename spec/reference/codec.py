"""The codecs of NWC, in the order of codec.md: from the bytes of a chunk to those of its tile."""
import functools
import math
import struct

import numpy as np


class FormatError(ValueError):
    def __init__(self, rule, message):
        super().__init__(f"corrupt (R{rule}): {message}")
        self.rule = rule


def require(condition, rule, message):
    if not condition:
        raise FormatError(rule, message)


# ==== codec.md 1 to 3: lanes, rANS, tables =======================================================

POSITION = np.array([16 * (lane >> 4) + 2 * (lane & 7) + (lane >> 3 & 1) for lane in range(32)])


@functools.lru_cache(maxsize=None)
def alias_table(frequencies, nb):
    """Four rows of 2^nb: frequency of a symbol; threshold, alias and first of a bucket."""
    buckets, cap = 1 << nb, 4096 >> nb
    rem = list(frequencies) + [0] * (buckets - len(frequencies))
    full, threshold, alias = list(rem), [cap] * buckets, list(range(buckets))
    small = [s for s in range(buckets) if rem[s] < cap]
    large = [s for s in range(buckets) if rem[s] >= cap]
    current = large.pop(0)
    while small:
        s = small.pop(0)
        threshold[s], alias[s] = rem[s], current
        rem[current] -= cap - rem[s]
        if rem[current] < cap:
            small.append(current)
            current = large.pop(0)
    first, given = [0] * buckets, [0] * buckets
    for b in range(buckets):
        first[b] = given[alias[b]]
        given[alias[b]] += cap - threshold[b]
    return np.array([full, threshold, alias, first])


class Rans:
    """The 32 states and the words of one chunk."""

    def __init__(self, states, words):
        require((states >= 1 << 16).all(), 26, "a first state below 2^16")
        self.states, self.words, self.at = states.astype(np.int64), words, 0

    def line(self, active, tables, table, nb):
        """Symbols of the active lanes; tables[part, table, bucket]; `table` and, where the tables
        differ in it, nb are one number a lane."""
        x = self.states[active]
        slot = x & 4095
        b, low = slot & ((1 << nb) - 1), slot >> nb
        own = low < tables[1, table, b]
        symbol = np.where(own, b, tables[2, table, b])
        rank = low - tables[1, table, b] + np.where(own, 0, tables[3, table, b])
        x = tables[0, table, symbol] * (x >> 12) + rank & 0xFFFFFFFF
        short = np.flatnonzero(x < 1 << 16)
        require(self.at + len(short) <= len(self.words), 26, "words are missing")
        x[short] = (x[short] << 16) + self.words[self.at:self.at + len(short)]
        self.at += len(short)
        self.states[active] = x
        return symbol

    def end(self):
        require(self.at == len(self.words), 26, "words are left over")
        require((self.states == 1 << 16).all(), 26, "a last state that is not 2^16")


# ==== codec.md 4 and 5: trellis, reconstruction ==================================================

TRELLISES = (  # (next, quantiser of state)
    ([0, 0], [0]),
    ([0, 2, 2, 0, 1, 3, 3, 1], [0, 0, 1, 1]),
    ([0, 1, 7, 6, 1, 0, 6, 7, 3, 2, 4, 5, 2, 3, 5, 4], [0, 0, 0, 0, 1, 1, 1, 1]),
)
MANTISSA = np.array([0x3F800000, 0x3F8B95C2, 0x3F9837F0, 0x3FA5FED7, 0x3FB504F3, 0x3FC5672A,
                     0x3FD744FD, 0x3FEAC0C7], np.uint32).view(np.float32)


def step(codes):
    return np.ldexp(MANTISSA[codes & 7], codes >> 3).astype(np.float32)


def reconstruct(k, q, stream, u, w, g):
    """float32 values of the indices k[row, column] quantised by q[row, column]."""
    v = 2 * k - q * np.sign(k)
    theta = np.where(np.abs(k) == 1, stream.offset1, stream.offset2)
    n = (64 * v - np.sign(k) * theta).astype(np.float32)
    column = np.float32(stream.scale) * step(w)
    column = column * np.float32(2.0 ** -6)
    values = n * column[None, :]
    row = step(u) * (1 + g * 2.0 ** -10).astype(np.float32)
    return values * row[:, None]


def to_dtype(values, dtype):
    """The bits of float32 values rounded to F16, BF16 or F32."""
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32)
    if dtype == "BF16":
        return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return bits


# ==== codec.md 6: side information ===============================================================

def rice_codes(data, at, count, base, width):
    """(values, byte after them)"""
    bits = np.unpackbits(np.frombuffer(data, np.uint8, len(data) - at, at), bitorder="little")
    bits, position, values = bits.tolist(), 0, []

    def number(length):
        nonlocal position
        require(position + length <= len(bits), 22, "side information ends early")
        position += length
        return sum(bit << i for i, bit in enumerate(bits[position - length:position]))

    for _ in range(count):
        ones = 0
        while ones < 16 and number(1):
            ones += 1
        z = number(12) if ones == 16 else ones << width | number(width)
        values.append(base + (z // 2 if z % 2 == 0 else -(z + 1) // 2))
    padding = number(-position % 8)
    require(padding == 0, 22, "padding of side information is not zero")
    return values, at + position // 8


def read_vectors(data, counts):
    at, vectors = 0, []
    for count in counts:
        require(at + 3 <= len(data), 22, "side information ends early")
        kind, base = struct.unpack_from("<Bh", data, at)
        at += 3
        require(kind in (0, 1), 22, f"vector of kind {kind}")
        if kind == 0:
            values = [base] * count
        else:
            require(at < len(data) and data[at] <= 12, 22, "Rice parameter")
            values, at = rice_codes(data, at + 1, count, base, data[at])
        require(-512 <= min(values) and max(values) <= 511, 22, "a value out of range")
        vectors.append(np.array(values))
    require(at == len(data), 22, "bytes after the side information")
    return vectors


def read_side(data, rows, columns, scale, row_gains):
    """row_step u, column_step w, row_table a, column_table b, row_gain g"""
    vectors = read_vectors(data, (rows, columns, rows, columns) + (rows,) * bool(row_gains))
    u, w = vectors[:2]
    exponent = math.frexp(scale)[1] - 1
    require(exponent + int(min(u)) // 8 + int(min(w)) // 8 >= -100 and
            exponent + int(max(u)) // 8 + int(max(w)) // 8 <= 100, 22, "products of steps")
    return vectors if row_gains else vectors + [np.zeros(rows, int)]


# ==== codec.md 7 to 9: chunks ====================================================================

class Parts:
    """The parts of a chunk, one after the other."""

    def __init__(self, data, rule):
        self.data, self.rule, self.at = data, rule, 0

    def take(self, kind, count):
        size = np.dtype(kind).itemsize * count
        require(self.at + size <= len(self.data), self.rule, "chunk is too short for its parts")
        self.at += size
        return np.frombuffer(self.data, kind, count, self.at - size)

    def pad(self):
        require(not self.take("u1", -self.at % 4).any(), self.rule, "padding in a chunk is not 0")

    def end(self):
        require(self.at == len(self.data), self.rule, "chunk is longer than its parts")


ELEMENTS = {"F16": "<u2", "BF16": "<u2", "F32": "<u4"}


def ascending(ids, end):
    return (np.diff(ids.astype(np.int64)) > 0).all() and (len(ids) == 0 or ids[-1] < end)


def decode_stripes(rans, t_of_weight, codec_tables, trellis, nb):
    """Indices k and quantisers q of all weights of a tile."""
    tables = np.zeros((4, 128, 1 << nb), np.int64)
    bias = (1 << nb - 1) - 1
    for at in range(2 * t_of_weight.min(), 2 * t_of_weight.max() + 2):
        positive = codec_tables[at]
        half = positive[1:] + (0,) * (bias + 1 - len(positive))
        tables[:, at] = alias_table(half[::-1] + positive[:1] + half, nb)
    next_state, quantiser = map(np.array, TRELLISES[trellis])
    k, q = np.zeros_like(t_of_weight), np.zeros_like(t_of_weight)
    rows, columns = t_of_weight.shape
    for left in range(0, columns, 32):
        active = np.flatnonzero(POSITION < columns - left)
        at = left + POSITION[active]
        state = np.zeros(len(active), np.int64)
        for row in range(rows):
            q[row, at] = quantiser[state]
            k[row, at] = rans.line(active, tables, 2 * t_of_weight[row, at] + q[row, at], nb) - bias
            state = next_state[2 * state + (k[row, at] & 1)]
    rans.end()
    return k, q


def decode_stream(data, dtype, stream, tables, side):
    """Bytes of a tile; `side` holds u, w, a, b and g of its rows and columns."""
    u, w, a, b, g = side
    m, n, element = len(u), len(w), ELEMENTS[dtype]
    parts = Parts(data, 23)
    nb, zero = parts.take("u1", 2).tolist()
    (exact_columns,) = parts.take("<u2", 1).tolist()
    patches, words = parts.take("<u4", 2).tolist()
    require(nb in (6, 7, 8) and zero == 0 and exact_columns <= n and patches <= m * n, 23,
            "header of a stream chunk")
    states, words = parts.take("<u4", 32), parts.take("<u2", words)
    column_ids = parts.take("<u2", exact_columns)
    parts.pad()
    patch_ids = parts.take("<u4", patches)
    column_values = parts.take(element, m * exact_columns).reshape(exact_columns, m)
    patch_values = parts.take(element, patches)
    parts.pad()
    parts.end()

    t_of_weight = np.clip(a[:, None] + b[None, :], 0, 63)
    for at in range(2 * t_of_weight.min(), 2 * t_of_weight.max() + 2):
        require(len(tables[at]) - 1 < 1 << nb - 1, 24, f"table {at} for 2^{nb} buckets")
    require(ascending(column_ids, n) and ascending(patch_ids, m * n), 25,
            "exact columns or patches are not ascending inside the tile")
    k, q = decode_stripes(Rans(states, words), t_of_weight, tables, stream.trellis, nb)
    bits = to_dtype(reconstruct(k, q, stream, u, w, g), dtype)
    bits[:, column_ids] = column_values.T
    bits.reshape(-1)[patch_ids] = patch_values
    return bits.astype(element).tobytes()


def decode_exact(data, dtype, n):
    """Bytes of n elements."""
    parts = Parts(data, 27)
    (words,) = parts.take("<u4", 1).tolist()
    states = parts.take("<u4", 32)
    present = np.flatnonzero(np.unpackbits(parts.take("u1", 32), bitorder="little"))
    frequencies = parts.take("<u2", len(present))
    words = parts.take("<u2", words)
    low16 = parts.take("<u2", n) if dtype == "F32" else 0
    low8 = parts.take("u1", n).astype(np.uint32)
    parts.pad()
    parts.end()
    require(len(present) >= 2 and 1 <= frequencies.min() and frequencies.max() <= 4095 and
            frequencies.sum(dtype=np.int64) == 4096, 28, "frequencies of an exact chunk")
    full = np.zeros(256, np.int64)
    full[present] = frequencies
    tables, rans = alias_table(tuple(full.tolist()), 8)[:, None, :], Rans(states, words)
    symbols = np.zeros(n, np.uint32)
    for at in range(0, n, 32):
        active = np.flatnonzero(POSITION < n - at)
        symbols[at + POSITION[active]] = rans.line(active, tables, 0, 8)
    rans.end()
    if dtype != "F32":
        rotated = symbols << 8 | low8
        return (rotated >> 1 | (rotated & 1) << 15).astype("<u2").tobytes()
    rotated = symbols << 24 | low8 << 16 | low16
    return (rotated >> 1 | rotated << 31).astype("<u4").tobytes()
