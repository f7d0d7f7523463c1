"""Writes the chunks of codec.md: small and slow, for tests and golden files."""
import functools
import struct

import numpy as np

from codec import (ELEMENTS, POSITION, TRELLISES, alias_table, reconstruct, to_dtype)


# ---- rANS ---------------------------------------------------------------------------------------

@functools.lru_cache(maxsize=None)
def slots_of_symbols(frequencies, nb):
    """For each symbol (frequency, threshold, slots by rank + threshold)."""
    frequency, threshold, alias, first = alias_table(frequencies, nb).tolist()
    slots = [[None] * f for f in frequency]
    for slot in range(4096):
        b, low = slot & ((1 << nb) - 1), slot >> nb
        if low < threshold[b]:
            slots[b][low] = slot
        else:
            s = alias[b]
            rank = low - threshold[b] + first[b]
            assert slots[s][rank + threshold[s]] is None
            slots[s][rank + threshold[s]] = slot
    return list(zip(frequency, threshold, slots))


def encode_lines(lines, last_states=(1 << 16,) * 32):
    """(first states, words). A line is a list of (lane, table, symbol) with ascending lanes, a
    table a result of slots_of_symbols."""
    states, words = list(last_states), []
    for line in reversed(lines):
        for lane, table, symbol in reversed(line):
            frequency, threshold, slots = table[symbol]
            x = states[lane]
            if x >= (frequency << 20) - threshold:
                words.append(x & 0xFFFF)
                x >>= 16
            quotient, rest = divmod(x + threshold, frequency)
            states[lane] = quotient << 12 | slots[rest]
    return states, words[::-1]


def lanes(width):
    """(lane, position) of the active lanes of a line, ascending."""
    return [(lane, at) for lane, at in enumerate(POSITION.tolist()) if at < width]


# ---- codecs and indices -------------------------------------------------------------------------

def make_codec(name, alphabet):
    """A codec whose table (t, q) has K = alphabet(t, q) and geometrically falling frequencies."""
    tables = []
    for t in range(64):
        for q in range(2):
            k = alphabet(t, q)
            weights = [(1 << 40) * (t + 4) ** i // (t + 24) ** i for i in range(k + 1)]
            total = weights[0] + 2 * sum(weights[1:])
            table = [max(1, 4096 * w // total) for w in weights]
            table[0] = 4096 - 2 * sum(table[1:])
            tables.append(tuple(table))
    return {"name": name, "tables": tables}


def symbol_frequencies(table, nb):
    """All 2^nb - 1 symbols of a codec's table, k = 0 in the middle."""
    half = list(table[1:]) + [0] * ((1 << nb - 1) - len(table))
    return tuple(half[::-1] + [table[0]] + half)


def walk(t_of_weight, tables, trellis, choose):
    """Indices and quantisers of a tile: choose(row, column, K, q) names each index, in order."""
    following, quantiser = TRELLISES[trellis]
    k, q = np.zeros_like(t_of_weight), np.zeros_like(t_of_weight)
    rows, columns = t_of_weight.shape
    for column in range(columns):
        state = 0
        for row in range(rows):
            active = quantiser[state]
            largest = len(tables[2 * t_of_weight[row, column] + active]) - 1
            index = choose(row, column, largest, active)
            k[row, column], q[row, column] = index, active
            state = following[2 * state + (index & 1)]
    return k, q


def nearest(target):
    """choose() for walk: the index whose value is nearest to target[row, column] steps."""
    def choose(row, column, largest, q):
        def error(k):
            return abs(2 * k - q * ((k > 0) - (k < 0)) - target[row][column])
        return min(range(-largest, largest + 1), key=error)
    return choose


# ---- side information ---------------------------------------------------------------------------

def bit_string(value, length):
    return "".join(str(value >> i & 1) for i in range(length))


def rice_code(z, width):
    if z >> width >= 16:
        return "1" * 16 + bit_string(z, 12)
    return "1" * (z >> width) + "0" + bit_string(z, width)


def side_vector(values, base=None, width=None):
    """One vector; the base is the first value and the width the shortest unless given."""
    base = int(values[0]) if base is None else base
    if all(value == base for value in values) and width is None:
        return struct.pack("<Bh", 0, base)
    zigzag = [2 * (v - base) if v >= base else -2 * (v - base) - 1 for v in map(int, values)]
    if width is None:
        width = min(range(13), key=lambda w: sum(len(rice_code(z, w)) for z in zigzag))
    bits = "".join(rice_code(z, width) for z in zigzag)
    bits += "0" * (-len(bits) % 8)
    codes = bytes(int(bits[i:i + 8][::-1], 2) for i in range(0, len(bits), 8))
    return struct.pack("<BhB", 1, base, width) + codes


# ---- chunks -------------------------------------------------------------------------------------

def pad4(data):
    return data + bytes(-len(data) % 4)


def stream_chunk(k, q, t_of_weight, tables, nb, dtype, exact=(), last_states=(1 << 16,) * 32):
    """The chunk of a tile. exact: ({column: elements}, {row * n + column: element})."""
    columns, patches = exact or ({}, {})
    bias = (1 << nb - 1) - 1
    lines = []
    for left in range(0, k.shape[1], 32):
        active = [(lane, left + at) for lane, at in lanes(k.shape[1] - left)]
        for row in range(k.shape[0]):
            line = []
            for lane, column in active:
                at = 2 * t_of_weight[row, column] + q[row, column]
                coder = slots_of_symbols(symbol_frequencies(tables[at], nb), nb)
                line.append((lane, coder, k[row, column] + bias))
            lines.append(line)
    states, words = encode_lines(lines, last_states)
    element = ELEMENTS[dtype]
    data = struct.pack("<BBHII", nb, 0, len(columns), len(patches), len(words))
    data += np.array(states, "<u4").tobytes() + np.array(words, "<u2").tobytes()
    data = pad4(data + np.array(sorted(columns), "<u2").tobytes())
    data += np.array(sorted(patches), "<u4").tobytes()
    for column in sorted(columns):
        data += np.array(columns[column], element).tobytes()
    return pad4(data + np.array([patches[at] for at in sorted(patches)], element).tobytes())


def decoded_tile(k, q, stream, side, dtype, exact=()):
    """What stream_chunk's result decodes to; stream has scale, offset1 and offset2; side: u, w, g."""
    u, w, g = side
    bits = to_dtype(reconstruct(k, q, stream, u, w, g), dtype)
    for column, elements in (exact[0] if exact else {}).items():
        bits[:, column] = elements
    for at, element in (exact[1] if exact else {}).items():
        bits.reshape(-1)[at] = element
    return bits.astype(ELEMENTS[dtype])


def normalised(counts):
    """Frequencies 1 ... 4095 that sum to 4096, at least two of them, {symbol: frequency}."""
    if len(counts) == 1:
        counts = {**counts, (min(counts) + 1) % 256: 0}
    total = sum(counts.values())
    result = {s: max(1, 4096 * counts[s] // total) for s in sorted(counts)}
    largest = max(result, key=result.get)
    result[largest] += 4096 - sum(result.values())
    return result


def exact_chunk(elements, width):
    """elements: unsigned integers of `width` bits, row-major."""
    mask = (1 << width) - 1
    rotated = [(x << 1 | x >> width - 1) & mask for x in map(int, elements)]
    symbols = [x >> width - 8 for x in rotated]
    frequencies = normalised({s: symbols.count(s) for s in set(symbols)})
    coder = slots_of_symbols(tuple(frequencies.get(s, 0) for s in range(256)), 8)
    lines = [[(lane, coder, symbols[at + p]) for lane, p in lanes(len(symbols) - at)]
             for at in range(0, len(symbols), 32)]
    states, words = encode_lines(lines)
    present = [sum(1 << bit for bit in range(8) if 8 * i + bit in frequencies) for i in range(32)]
    data = struct.pack("<I32I32B", len(words), *states, *present)
    data += np.array([frequencies[s] for s in sorted(frequencies)], "<u2").tobytes()
    data += np.array(words, "<u2").tobytes()
    if width == 32:
        data += np.array([x & 0xFFFF for x in rotated], "<u2").tobytes()
    return pad4(data + bytes(x >> width - 16 & 0xFF for x in rotated))
